/**
 * Leases in the bucket `drover_leases`. A lease is an entry with its holder's promise to renew within `ttlMs`. A holder counts from *before* it
 * asks for renewal and gives up early; a taker waits the whole time from when it *saw* the last renewal: so the old holder has always let
 * go before the new one begins, whatever the clocks say (I4).
 */
import { DroverError, deferred, isCancelled, sleep } from '@drover/core';
import type { Bus } from './connect.ts';
import type { Kv } from './kv.ts';
import { type LeaseEntry, openLeases } from './lease-bucket.ts';
import { unlessAborted } from './unless-aborted.ts';

export interface LeaseOptions {
  readonly key: string;
  /** How long the lease outlives its holder. */
  readonly ttlMs: number;
  readonly value: Record<string, unknown>;
  /** Aborted while waiting: gives up. Aborted while held: the lease is no longer renewed; `release` frees it at once. */
  readonly signal: AbortSignal;
  /** Once, when the lease ends without `release`. `held` and `deadline` tell it earlier than any callback can. */
  readonly onLost: () => void;
  readonly replicas?: number;
}

export interface Lease {
  /** Once false, it stays false. */
  readonly held: boolean;
  /** `performance.now()` after which the lease must be treated as lost, whatever the timers did. */
  readonly deadline: number;
  /** Changes what the entry says about the holder, with the next renewal. */
  update(value: Record<string, unknown>): void;
  /** Lets the next one in without delay. */
  release(): Promise<void>;
}

/** Part of the time after which a holder lets go; the rest is the margin before the taker may begin. */
const HOLDER_PART = 0.7;
/** Part of the time between renewals: three attempts fit before the holder must let go. */
const RENEW_PART = 0.2;
/** A renewal that has not been answered by then is asked for again. */
const RENEW_TIMEOUT_PART = 0.25;
const LOOK_EVERY_MS_MAX = 200;

/** Waits until the lease is ours, through outages too; undefined when the signal aborts first. */
export async function holdLease(bus: Bus, options: LeaseOptions): Promise<Lease | undefined> {
  const { key, ttlMs, signal } = options;
  const kv = await openLeases(bus, options);
  if (kv === undefined) return undefined;
  const holder = crypto.randomUUID();
  const entry: LeaseEntry = { holder, ttlMs, value: options.value };
  let seen: { revision: number; at: number } | undefined;
  while (!signal.aborted) {
    const asked = performance.now();
    const held = (revision: number) => new HeldLease({ bus, kv, options, holder, revision, asked });
    try {
      const found = await unlessAborted(signal, kv.get(key));
      if (found === null) return held(await kv.create(key, entry));
      const ours = found.value.holder === holder; // the answer to an earlier attempt was lost
      if (ours) return held(await kv.update(key, entry, found.revision));
      if (seen?.revision !== found.revision) seen = { revision: found.revision, at: performance.now() };
      else if (performance.now() - seen.at > found.value.ttlMs) {
        return held(await kv.update(key, entry, found.revision));
      }
    } catch (error) {
      if (isCancelled(error)) break;
      // A conflict: somebody was faster. No answer: the next look tells.
      if (!(error instanceof DroverError) || error.disposition !== 'retry') throw error;
    }
    await sleep(Math.min(LOOK_EVERY_MS_MAX, ttlMs * RENEW_PART), signal);
  }
  return undefined;
}

interface Taken {
  readonly bus: Bus;
  readonly kv: Kv<LeaseEntry>;
  readonly options: LeaseOptions;
  readonly holder: string;
  readonly revision: number;
  /** `performance.now()` before it was asked for. */
  readonly asked: number;
}

class HeldLease implements Lease {
  readonly #bus: Bus;
  readonly #kv: Kv<LeaseEntry>;
  readonly #options: LeaseOptions;
  readonly #holder: string;
  readonly #stop = new AbortController();
  readonly #renewing: Promise<void>;
  #value: Record<string, unknown>;
  #revision: number;
  #deadline: number;
  #lost = false;

  constructor(taken: Taken) {
    const { options } = taken;
    this.#bus = taken.bus;
    this.#kv = taken.kv;
    this.#options = options;
    this.#holder = taken.holder;
    this.#value = options.value;
    this.#revision = taken.revision;
    this.#deadline = taken.asked + options.ttlMs * HOLDER_PART;
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
    const { held } = this;
    this.#lost = true;
    this.#stop.abort();
    await this.#renewing;
    if (!held) return; // it is another's, or will be by itself
    await within(this.#options.ttlMs, this.#free()).catch(() => undefined);
  }

  async #free(): Promise<void> {
    const { key } = this.#options;
    try {
      await this.#kv.delete(key, this.#revision);
    } catch (error) {
      if (!(error instanceof DroverError) || error.code !== 'placement.conflict') throw error;
      const found = await this.#kv.get(key); // a renewal whose answer was lost
      if (found?.value.holder === this.#holder) await this.#kv.delete(key, found.revision);
    }
  }

  async #renew(): Promise<void> {
    const { ttlMs, signal } = this.#options;
    const stop = AbortSignal.any([this.#stop.signal, signal]);
    while (!stop.aborted) {
      const left = this.#deadline - performance.now();
      if (left <= 0) {
        this.#lost = true;
        this.#options.onLost();
        return;
      }
      if (!(await sleep(Math.min(left, ttlMs * RENEW_PART), stop))) return;
      const patience = Math.min(ttlMs * RENEW_TIMEOUT_PART, this.#deadline - performance.now());
      if (patience > 0) await within(patience, this.#renewOnce(patience)).catch(() => undefined); // the deadline decides
    }
  }

  async #renewOnce(patience: number): Promise<void> {
    const { key, ttlMs } = this.#options;
    // Not left to the bus: what waits there would renew, on reconnecting, a lease that was given up meanwhile.
    await this.#bus.connected(AbortSignal.timeout(Math.ceil(patience)));
    if (!this.held) return;
    const asked = performance.now();
    const entry: LeaseEntry = { holder: this.#holder, ttlMs, value: this.#value };
    try {
      this.#renewed(await this.#kv.update(key, entry, this.#revision), asked);
    } catch (error) {
      if (!(error instanceof DroverError) || error.code !== 'placement.conflict') throw error;
      // Another holder, or a renewal of ours whose answer was lost.
      const found = await this.#kv.get(key);
      if (found?.value.holder !== this.#holder) this.#deadline = 0;
      else if (found.revision !== this.#revision) {
        // Or a bus that has lost its newest messages: nobody else can have taken the lease while it was held.
        this.#revision = found.revision;
        this.#renewed(await this.#kv.update(key, entry, found.revision), asked);
      }
    }
  }

  /** Answers may overtake one another; the newest counts. One that comes after the deadline is too late, though the lease was ours all the time. */
  #renewed(revision: number, asked: number): void {
    this.#revision = Math.max(this.#revision, revision);
    if (this.held) this.#deadline = Math.max(this.#deadline, asked + this.#options.ttlMs * HOLDER_PART);
  }
}

/** @throws DroverError `bus.unreachable` when it takes longer; the work goes on and its outcome is ignored */
async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const late = deferred<never>();
  const timer = setTimeout(() => late.reject(new DroverError('bus.unreachable', 'no answer in time')), ms);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
