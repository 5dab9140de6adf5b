/**
 * Leases in the bucket `drover_leases`. A lease is an entry with its holder's promise to renew within `ttlMs`. A holder counts from *before* it
 * asks for renewal and gives up early; a taker waits the whole time from when it *saw* the last renewal: so the old holder has always let
 * go before the new one begins, whatever the clocks say (I4).
 */
import { DroverError, isCancelled, sleep } from '@drover/core';
import type { Bus } from './connect.ts';
import { Kv } from './kv.ts';

interface Entry {
  readonly holder: string;
  readonly ttlMs: number;
  readonly value: Record<string, unknown>;
}

export interface LeaseOptions {
  readonly key: string;
  readonly ttlMs: number;
  readonly value: Record<string, unknown>;
  readonly signal: AbortSignal;
  readonly onLost: () => void;
  readonly replicas?: number;
}

export interface Lease {
  readonly held: boolean;
  /** `performance.now()` after which the lease must be treated as lost, whatever the timers did. */
  readonly deadline: number;
  /** Changes what the entry says about the holder, with the next renewal. */
  update(value: Record<string, unknown>): void;
  release(): Promise<void>;
}

/** The holder lets go this much earlier than the taker may begin. */
const MARGIN = 0.7;
/** Entries of holders that are long gone vanish by themselves. */
const BUCKET_TTL_MS = 24 * 3600 * 1000;

function openLeases(bus: Bus, replicas: number): Promise<Kv<Entry>> {
  return Kv.open<Entry>(bus, 'drover_leases', { replicas, ttlMs: BUCKET_TTL_MS });
}

/** Waits until the lease is ours; undefined when the signal aborts first. */
export async function holdLease(bus: Bus, options: LeaseOptions): Promise<Lease | undefined> {
  const kv = await openLeases(bus, options.replicas ?? 1);
  const holder = crypto.randomUUID();
  let seen: { revision: number; at: number } | undefined;
  while (!options.signal.aborted) {
    const asked = performance.now();
    const entry: Entry = { holder, ttlMs: options.ttlMs, value: options.value };
    try {
      const found = await kv.get(options.key);
      if (found === null)
        return new HeldLease(kv, options, holder, await kv.create(options.key, entry), asked);
      if (seen?.revision !== found.revision) seen = { revision: found.revision, at: performance.now() };
      else if (performance.now() - seen.at > found.value.ttlMs) {
        return new HeldLease(kv, options, holder, await kv.update(options.key, entry, found.revision), asked);
      }
    } catch (error) {
      if (isCancelled(error)) throw error;
      if (error instanceof DroverError && error.code === 'placement.conflict') seen = undefined;
    }
    await sleep(Math.min(200, options.ttlMs / 5), options.signal);
  }
  return undefined;
}

class HeldLease implements Lease {
  readonly #kv: Kv<Entry>;
  readonly #options: LeaseOptions;
  readonly #holder: string;
  readonly #stop = new AbortController();
  readonly #renewing: Promise<void>;
  #value: Record<string, unknown>;
  #revision: number;
  #deadline: number;
  #lost = false;

  constructor(kv: Kv<Entry>, options: LeaseOptions, holder: string, revision: number, asked: number) {
    this.#kv = kv;
    this.#options = options;
    this.#holder = holder;
    this.#value = options.value;
    this.#revision = revision;
    this.#deadline = asked + options.ttlMs * MARGIN;
    this.#renewing = this.#renew();
  }

  get held(): boolean {
    return !this.#lost && performance.now() < this.#deadline;
  }

  get deadline(): number {
    return this.#lost ? 0 : this.#deadline;
  }

  update(value: Record<string, unknown>): void {
    this.#value = value;
  }

  async release(): Promise<void> {
    this.#lost = true;
    this.#stop.abort();
    await this.#renewing;
    await this.#kv.delete(this.#options.key, this.#revision).catch(() => undefined);
  }

  async #renew(): Promise<void> {
    const { key, ttlMs } = this.#options;
    const stop = this.#stop.signal;
    let pending: Promise<void> | undefined;
    while (!stop.aborted) {
      const left = this.#deadline - performance.now();
      if (left <= 0) {
        this.#lost = true;
        this.#options.onLost();
        return;
      }
      await sleep(Math.min(left, ttlMs / 5), stop);
      if (stop.aborted) break;
      // One renewal at a time; a slow answer must not keep us from seeing the deadline pass.
      // A request lost with a connection is answered by nothing for ten seconds: half the lease is waited for, then it is asked again.
      pending ??= Promise.race([this.#renewOnce(key, ttlMs), sleep(ttlMs / 2, stop)]).then(() => {
        pending = undefined;
      });
    }
    await pending;
  }

  async #renewOnce(key: string, ttlMs: number): Promise<void> {
    const asked = performance.now();
    try {
      const entry: Entry = { holder: this.#holder, ttlMs, value: this.#value };
      this.#revision = await this.#kv.update(key, entry, this.#revision);
      this.#deadline = Math.max(this.#deadline, asked + ttlMs * MARGIN);
    } catch (error) {
      if (error instanceof DroverError && error.code === 'placement.conflict') await this.#lookAgain(key);
    }
  }

  /** A conflict is either another holder or our own renewal whose answer was lost. */
  async #lookAgain(key: string): Promise<void> {
    try {
      const found = await this.#kv.get(key);
      if (found?.value.holder === this.#holder) this.#revision = found.revision;
      else this.#deadline = 0;
    } catch {
      // unreachable: the deadline decides
    }
  }
}

export interface LeaseView {
  /** Names (the key behind `prefix`) of the leases that have not run out, from this observer's point of view. */
  live(prefix: string): ReadonlySet<string>;
  value(key: string): Record<string, unknown> | undefined;
  readonly synced: Promise<void>;
}

/** Watches all leases. A lease counts as live for its whole time from when its last renewal was seen here. */
export function watchLeases(bus: Bus, options: { signal: AbortSignal; replicas?: number }): LeaseView {
  const seen = new Map<string, { entry: Entry; at: number }>();
  const synced = Promise.withResolvers<void>();
  void (async () => {
    const kv = await openLeases(bus, options.replicas ?? 1);
    for await (const change of kv.watch(options.signal)) {
      if (change.synced) synced.resolve();
      else if (change.value === null) seen.delete(change.key);
      else seen.set(change.key, { entry: change.value, at: performance.now() });
    }
  })().catch((error: unknown) => synced.reject(error));
  synced.promise.catch(() => undefined);
  const alive = (key: string) => {
    const found = seen.get(key);
    return found !== undefined && performance.now() - found.at <= found.entry.ttlMs ? found : undefined;
  };
  return {
    synced: synced.promise,
    live: (prefix) =>
      new Set(
        [...seen.keys()]
          .filter((k) => k.startsWith(prefix) && alive(k) !== undefined)
          .map((k) => k.slice(prefix.length)),
      ),
    value: (key) => alive(key)?.entry.value,
  };
}
