/** The bucket `drover_leases` and the view of it that others decide by. */
import { cancelled, DroverError, isCancelled, sleep, until } from '@drover/core';
import { busError } from './bus-error.ts';
import type { Bus } from './connect.ts';
import { Kv } from './kv.ts';
import { unlessAborted } from './unless-aborted.ts';

export interface LeaseEntry {
  readonly holder: string;
  readonly ttlMs: number;
  readonly value: Record<string, unknown>;
}

/** Entries of holders that are long gone vanish by themselves. */
const BUCKET_TTL_MS = 24 * 3600 * 1000;
const RETRY_MS = 250;
const LEASE_BUCKET = 'drover_leases';
const LEASE_STREAM = `KV_${LEASE_BUCKET}`;

export interface LeaseView {
  /**
   * Names (the key behind `prefix`) of the leases that have not run out, as far as this observer has seen. While it is cut off from the server no
   * lease runs out here: its holder may be renewing it.
   */
  live(prefix: string): ReadonlySet<string>;
  /**
   * As {@link live}, but sure: a lease that is not named had run out, or was released, when this was called (I4).
   * @throws DroverError `bus.unreachable` when that cannot be known now
   */
  liveNow(prefix: string): Promise<ReadonlySet<string>>;
  value(key: string): Record<string, unknown> | undefined;
  /** Resolves when all that were there have been read; never before that may an absent lease be taken for none. */
  readonly synced: Promise<void>;
}

/** Watches all leases. A lease counts as live for its whole time from when its last renewal was seen here. */
export function watchLeases(bus: Bus, options: { signal: AbortSignal; replicas?: number }): LeaseView {
  const view = new WatchedLeases(bus, options);
  view.start();
  return view;
}

const CATCH_UP_MS = 5000;
const LOOK_MS = 10;

class WatchedLeases implements LeaseView {
  readonly #bus: Bus;
  readonly #options: { signal: AbortSignal; replicas?: number };
  readonly #seen = new Map<string, { entry: LeaseEntry; at: number }>();
  readonly #synced = Promise.withResolvers<void>();
  /** When the server last showed that there is nothing newer. */
  #currentAt = 0;
  /** Revision of the newest change seen. */
  #revision = 0;

  constructor(bus: Bus, options: { signal: AbortSignal; replicas?: number }) {
    this.#bus = bus;
    this.#options = options;
    this.#synced.promise.catch(() => undefined);
  }

  get synced(): Promise<void> {
    return this.#synced.promise;
  }

  start(): void {
    this.#follow()
      .then(() => this.#synced.reject(cancelled()))
      .catch((error: unknown) => this.#synced.reject(error));
  }

  live(prefix: string): ReadonlySet<string> {
    return this.#liveAt(prefix, this.#currentAt);
  }

  async liveNow(prefix: string): Promise<ReadonlySet<string>> {
    const asked = performance.now();
    const { signal } = this.#options;
    try {
      await this.#synced.promise;
      const { state } = await this.#bus.read(() => this.#bus.jsm.streams.info(LEASE_STREAM));
      await until(() => (this.#revision >= state.last_seq ? true : undefined), {
        everyMs: LOOK_MS,
        timeoutMs: CATCH_UP_MS,
        signal,
        onTimeout: () => new DroverError('bus.unreachable', 'the view of the leases does not catch up'),
      });
    } catch (error) {
      throw busError(error, 'leases cannot be read');
    }
    return this.#liveAt(prefix, asked);
  }

  value(key: string): Record<string, unknown> | undefined {
    const found = this.#seen.get(key);
    return found !== undefined && this.#isLive(found, this.#currentAt) ? found.entry.value : undefined;
  }

  /** `at`: every renewal before then has been seen. */
  #liveAt(prefix: string, at: number): ReadonlySet<string> {
    const out = new Set<string>();
    for (const [key, found] of this.#seen) {
      if (key.startsWith(prefix) && this.#isLive(found, at)) out.add(key.slice(prefix.length));
    }
    return out;
  }

  #isLive(found: { entry: LeaseEntry; at: number }, at: number): boolean {
    return at - found.at <= found.entry.ttlMs;
  }

  async #follow(): Promise<void> {
    const { signal } = this.#options;
    const kv = await openLeases(this.#bus, this.#options);
    if (kv === undefined) return;
    const onAlive = () => {
      this.#currentAt = performance.now();
    };
    for await (const change of kv.watch(signal, { onAlive })) {
      if (change.synced) {
        onAlive();
        this.#synced.resolve();
        continue;
      }
      if (change.value === null) this.#seen.delete(change.key);
      else this.#seen.set(change.key, { entry: change.value, at: performance.now() });
      // Not always growing: a bucket that was made anew counts from 1 again. 0: a key that went with the old one.
      if (change.revision > 0) this.#revision = change.revision;
    }
  }
}

/** Waits until the bucket can be opened; undefined when the signal aborts first. */
export async function openLeases(
  bus: Bus,
  options: { signal: AbortSignal; replicas?: number },
): Promise<Kv<LeaseEntry> | undefined> {
  const settings = { replicas: options.replicas ?? 1, ttlMs: BUCKET_TTL_MS };
  while (!options.signal.aborted) {
    try {
      return await unlessAborted(options.signal, Kv.open<LeaseEntry>(bus, LEASE_BUCKET, settings));
    } catch (error) {
      if (isCancelled(error)) break;
      if (!(error instanceof DroverError) || error.disposition !== 'retry') throw error;
      await sleep(RETRY_MS, options.signal);
    }
  }
  return undefined;
}
