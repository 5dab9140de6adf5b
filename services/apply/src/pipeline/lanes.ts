/**
 * Tenants that the main lane does not feed: each in `catchup` is read by a consumer of its own subject from behind its row's
 * stream_seq, and applied on one connection of its own, so that neither long catch-ups nor failures slow the main lane (I7).
 *
 * Here: who has a lane, and whose turn it is. What a lane reads: lane.ts; transactions of several parts: lane-parts.ts; how a lane ends:
 * hand-over.ts, lost-lane.ts.
 */
import { DeficitRoundRobin } from '@drover/core';
import type { BatchResult } from '../apply/batch.ts';
import { Executor } from '../apply/executor.ts';
import { handOver } from './hand-over.ts';
import { feedLane, isPart, type Lane, type LanesOptions, openLane } from './lane.ts';
import { LaneParts } from './lane-parts.ts';
import { IDLE_MS, LaneTarget } from './lane-target.ts';
import { parkLost } from './lost-lane.ts';

/** Tenants that are read at once; the others wait their turn. */
const LANES_MAX = 8;
/** What a lane of weight 1 is given at a turn, at least. */
const QUANTUM_MIN = 64 * 1024;

export class Lanes {
  readonly #options: LanesOptions;
  readonly #lanes = new Map<string, Lane>();
  readonly #wanted = new Set<string>();
  /** Whose turn it is on the lanes' connection, in stored bytes by the weight of its tier. */
  readonly #order: DeficitRoundRobin<Lane>;
  readonly #connection: LaneTarget;
  readonly #parts: LaneParts;
  readonly #asides = new Set<Promise<void>>();
  #failure: unknown;
  #wake: () => void = () => undefined;

  constructor(options: LanesOptions) {
    this.#options = options;
    this.#order = new DeficitRoundRobin(Math.max(QUANTUM_MIN, options.deps.batchBytes / 4));
    this.#connection = new LaneTarget(options);
    this.#parts = new LaneParts(options);
  }

  has(tenant: string): boolean {
    return this.#lanes.has(tenant) || this.#wanted.has(tenant);
  }

  get tenants(): readonly string[] {
    return [...this.#lanes.keys(), ...this.#wanted];
  }

  /** The tenant's row says `catchup`. Safe to repeat. */
  want(tenant: string): void {
    if (this.has(tenant)) return;
    this.#wanted.add(tenant);
    this.#wake();
  }

  /** Something that a lane waits for has changed. */
  wake(): void {
    this.#wake();
  }

  /** Until the signal aborts. @throws what is not one tenant's failure */
  async run(): Promise<void> {
    const { signal } = this.#options;
    try {
      while (!signal.aborted) {
        if (this.#failure !== undefined) throw this.#failure;
        if (await this.#round()) continue;
        await this.#sleep();
        await this.#connection.closeIdle(this.#lanes.size > 0 || this.#wanted.size > 0);
      }
    } finally {
      for (const lane of this.#lanes.values()) lane.end();
      await Promise.all([...this.#asides, ...[...this.#lanes.values()].map((lane) => lane.feeding)]);
      this.#lanes.clear();
      await this.#connection.close();
    }
  }

  async #round(): Promise<boolean> {
    for (const tenant of this.#wanted) {
      if (this.#lanes.size >= LANES_MAX) break;
      await this.#open(tenant);
      this.#wanted.delete(tenant); // not before: who is wanted again meanwhile has one already
    }
    if (this.#lanes.size === 0) return this.#wanted.size > 0;
    let worked = false;
    for (const lane of this.#lanes.values()) {
      if (this.#options.signal.aborted) return false;
      if (lane.aside) continue;
      if (lane.queue.length > 0 && this.#isDue(lane)) {
        this.#order.join(lane, this.#options.deps.weightOf(lane.tenant));
        this.#order.wake(lane);
      } else worked = (await this.#advance(lane)) || worked;
    }
    const turn = this.#order.next();
    if (turn === null) return worked;
    await this.#serve(turn.key, turn.budget);
    return true;
  }

  async #open(tenant: string): Promise<void> {
    const { deps } = this.#options;
    const lane = await openLane(tenant, await this.#connection.session(), this.#options);
    if (lane === null) return;
    this.#order.join(lane, deps.weightOf(tenant));
    lane.queue.onArrival = () => this.#wake();
    this.#lanes.set(tenant, lane);
    lane.feeding = feedLane(lane, this.#options);
    deps.log.info('a tenant catches up in a lane of its own', { tenant, seq: lane.seq });
  }

  #close(lane: Lane): void {
    lane.end();
    this.#order.leave(lane);
    this.#lanes.delete(lane.tenant);
  }

  /**
   * Only what the main lane has passed: it makes the schema changes that stand in between, which a lane does not see. So a hand-over meets
   * nothing beyond the position either.
   */
  #isDue(lane: Lane): boolean {
    const { head } = lane.queue;
    const position = this.#options.position();
    if (head === undefined || head.seq > position) return false;
    // Its rows may stand in the target already, and be committed any moment.
    if (head.early !== null && this.#options.groups.holds(head.early)) return false;
    if (this.#parts.rests(lane)) return false;
    return !isPart(head) || this.#parts.mayBegin(position);
  }

  /** Nothing of the lane's is due: it has failed, or is handed over. */
  async #advance(lane: Lane): Promise<boolean> {
    const { failure } = lane.queue;
    if (lane.queue.length === 0 && failure !== undefined) {
      this.#close(lane);
      const result = await parkLost(lane, failure, this.#options, () => this.#connection.target());
      if (result !== null) this.#options.deps.applied(result, 0);
      return true;
    }
    if (lane.queue.length > 0) return false;
    if (performance.now() < lane.handOverAt) return false;
    lane.handOverAt = performance.now() + 50;
    return handOver(lane, this.#options, {
      session: () => this.#connection.session(),
      isDue: (of) => this.#isDue(of),
      apply: async (of) => {
        await this.#apply(of, this.#options.deps.batchBytes);
        return this.#lanes.has(of.tenant);
      },
      close: (of) => this.#close(of),
    });
  }

  /** One lane's turn on the connection: what it has, up to its budget. */
  async #serve(lane: Lane, budget: number): Promise<void> {
    const { deps, signal } = this.#options;
    const { head } = lane.queue;
    if (head === undefined || isPart(head)) {
      if (!this.#setAside(lane)) await this.#apply(lane, 0);
      this.#order.charge(lane, 0, false);
      return;
    }
    const turn = await lane.share.take(signal);
    let bytes = 0;
    try {
      bytes = await this.#apply(lane, Math.min(deps.batchBytes, budget));
    } finally {
      turn.done(bytes);
      this.#order.charge(lane, bytes, false);
    }
  }

  /** Returns the bytes that were taken. */
  async #apply(lane: Lane, bytesMax: number): Promise<number> {
    const { deps, position, signal } = this.#options;
    const target = await this.#connection.target();
    const { head } = lane.queue;
    if (head !== undefined && isPart(head)) {
      await this.#applyParts(lane, target);
      return 0;
    }
    const entries = lane.queue.take(bytesMax, (entry) => !isPart(entry) && entry.seq <= position());
    const executor = new Executor(target, { lane: 'catchup', log: deps.log, signal });
    const started = performance.now();
    const results = await executor.run(entries, null);
    for (const result of results) deps.applied(result, (performance.now() - started) / 1000 / results.length);
    lane.seq = entries.at(-1)?.seq ?? lane.seq;
    this.#settle(lane, results);
    return entries.reduce((sum, { size }) => sum + size, 0);
  }

  async #applyParts(lane: Lane, target: Parameters<LaneParts['write']>[1]): Promise<void> {
    const result = await this.#parts.write(lane, target);
    if (result !== null) {
      this.#settle(lane, [result]);
      return;
    }
    this.#close(lane);
    this.want(lane.tenant);
  }

  /** Gives a transaction of several parts a connection of its own, if there is one: it may take minutes, and other tenants catch up meanwhile. */
  #setAside(lane: Lane): boolean {
    const { slots } = this.#options.deps;
    const origin = lane.inline ? undefined : slots.takeSpare();
    if (origin === undefined) return false;
    lane.aside = true;
    const work = this.#onItsOwn(lane, origin)
      .catch((error: unknown) => {
        this.#failure ??= error;
      })
      .finally(() => {
        slots.give(origin);
        lane.aside = false;
        this.#asides.delete(work);
        this.#wake();
      });
    this.#asides.add(work);
    return true;
  }

  async #onItsOwn(lane: Lane, origin: string): Promise<void> {
    const target = await this.#connection.own(origin);
    if (target === undefined) {
      lane.inline = true;
      return;
    }
    try {
      await this.#applyParts(lane, target);
    } finally {
      await target.session.close();
    }
  }

  /** A tenant that is not in `catchup` any more has no lane. */
  #settle(lane: Lane, results: readonly BatchResult[]): void {
    for (const result of results) {
      for (const pause of result.paused) this.#options.deps.paused(pause);
      if (result.states.has(lane.tenant) && result.states.get(lane.tenant)?.feed !== 'catchup')
        this.#close(lane);
      else if (!result.states.has(lane.tenant) && result.counts.has('absent')) this.#close(lane);
      // The row was changed by others: the next look at it decides.
      if (result.counts.has('wait')) this.#close(lane);
    }
  }

  /** Until something arrives or is wanted; while lanes are open, a moment at most. */
  #sleep(): Promise<void> {
    const { signal } = this.#options;
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        this.#wake = () => undefined;
        resolve();
      };
      const timer = setTimeout(done, this.#lanes.size > 0 ? 50 : IDLE_MS);
      this.#wake = done;
      signal.addEventListener('abort', done, { once: true });
      if (signal.aborted) done();
    });
  }
}
