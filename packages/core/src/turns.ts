/**
 * Turns of bulk work at one target: transactions in progress, lanes that catch up, large transactions. Who is next is decided by deficit round
 * robin in bytes, weighted by the tenants' tiers, over all pipelines; a few work at once. Between turns bulk gives way to the main lanes
 * when these suffer, and gets a quarter of the time at least. The main lanes never wait here.
 */

import { Disturbance } from './disturbance.ts';
import { DeficitRoundRobin } from './drr.ts';

import { cancelled, type Deferred, deferred } from './lifecycle.ts';

/** What a flow of weight 1 may write before the next one's turn. */
const QUANTUM = 1024 * 1024;
/** Larger batches of a main lane say nothing about how long a small one takes. */
const SMALL_BYTES = 32 * 1024;
/** A main lane that has been at work so lately will be again. */
const PRESENT_MS = 100;
const WAIT_MS_MAX = 200;
/** Who takes longer waits for something, perhaps for the locks of one that waits for its turn: it is no longer counted. */
const HOLD_MS_MAX = 2000;

export interface TurnsOptions {
  /** Turns at once. */
  readonly atOnce: number;
  /** Milliseconds of a monotonic clock. */
  readonly nowMs?: () => number;
}

export interface Pass {
  readonly budget: number;
  /** The turn is over; it wrote so many bytes. */
  done(bytes: number): void;
}

/** Who takes turns: one tenant's lane, or a transaction in progress. */
export interface Share {
  /** Resolves when it is its turn; one at a time. @throws DroverError `internal.cancelled` */
  take(signal: AbortSignal): Promise<Pass>;
  leave(): void;
}

interface Member {
  waiter: Deferred<Pass> | null;
}

export class Turns {
  readonly #atOnce: number;
  readonly #nowMs: () => number;
  readonly #order = new DeficitRoundRobin<Member>(QUANTUM);
  readonly #disturbance = new Disturbance();
  #running = 0;
  #waiting = 0;
  #live = 0;
  #liveAtMs = Number.NEGATIVE_INFINITY;
  /** The last turn that ended, and how long it took. */
  #endedAtMs = Number.NEGATIVE_INFINITY;
  #tookMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor({ atOnce, nowMs = () => performance.now() }: TurnsOptions) {
    this.#atOnce = atOnce;
    this.#nowMs = nowMs;
  }

  /** A main lane writes so many bytes. */
  async live<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    const startMs = this.#nowMs();
    const beside = this.#running > 0;
    this.#live++;
    try {
      return await work();
    } finally {
      this.#live--;
      this.#liveAtMs = this.#nowMs();
      if (bytes <= SMALL_BYTES) this.#disturbance.note(this.#liveAtMs - startMs, beside || this.#running > 0);
    }
  }

  /** `weight` is asked at each turn: tiers change. */
  join(weight: () => number): Share {
    const member: Member = { waiter: null };
    this.#order.join(member, weight());
    return {
      take: (signal) => {
        if (this.#order.has(member)) this.#order.join(member, weight());
        return this.#take(member, signal);
      },
      leave: () => {
        this.#order.leave(member);
        member.waiter?.reject(cancelled());
      },
    };
  }

  async #take(member: Member, signal: AbortSignal): Promise<Pass> {
    if (signal.aborted || !this.#order.has(member)) throw cancelled();
    const waiter = deferred<Pass>();
    member.waiter = waiter;
    this.#waiting++;
    const onAbort = (): void => waiter.reject(cancelled());
    signal.addEventListener('abort', onAbort, { once: true });
    this.#order.wake(member);
    this.#pump();
    try {
      return await waiter.promise;
    } catch (error) {
      if (member.waiter === waiter) {
        member.waiter = null;
        this.#waiting--;
        this.#order.rest(member);
      }
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  #pump(): void {
    clearTimeout(this.#timer);
    while (this.#waiting > 0 && this.#running < this.#atOnce) {
      const waitMs = this.#givesWayMs();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.#pump(), Math.ceil(waitMs));
        return;
      }
      const turn = this.#order.next();
      if (turn === null) return;
      this.#begin(turn.key, turn.budget);
    }
  }

  #givesWayMs(): number {
    const now = this.#nowMs();
    if (this.#live === 0 && now - this.#liveAtMs > PRESENT_MS) return 0;
    return Math.min(WAIT_MS_MAX, this.#tookMs * this.#disturbance.factor) - (now - this.#endedAtMs);
  }

  #begin(member: Member, budget: number): void {
    const { waiter } = member;
    member.waiter = null;
    if (waiter === null) {
      this.#order.charge(member, 0, false);
      return;
    }
    this.#waiting--;
    this.#running++;
    const startMs = this.#nowMs();
    let counted = true;
    const uncount = (): void => {
      if (counted) this.#running--;
      counted = false;
    };
    const timer = setTimeout(() => {
      uncount();
      this.#pump();
    }, HOLD_MS_MAX);
    let over = false;
    const done = (bytes: number): void => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      uncount();
      this.#endedAtMs = this.#nowMs();
      this.#tookMs = this.#endedAtMs - startMs;
      this.#order.charge(member, bytes, false);
      // Who goes on at once is heard before the next is chosen.
      setImmediate(() => this.#pump());
    };
    waiter.resolve({ budget, done });
  }
}
