/**
 * One stream into one database of the target: reads (source, partition) from behind the position stored in that database and
 * applies the blocks that name this database. Several databases have a pipeline each, with positions of their own, so that a
 * position is always committed with the rows it speaks of.
 *
 * While one batch is on its way through PostgreSQL, the next is fetched and decoded; a batch is what has arrived meanwhile.
 */
import { consume, streamName, unlessAborted } from '@drover/bus';
import {
  Backoff,
  DroverError,
  describeError,
  isCancelled,
  partitionOf,
  sleep,
  type TenantId,
} from '@drover/core';
import { classifyPgError } from '@drover/pg';
import { toEntry } from '../changes/entry.ts';
import { StreamedGroups } from '../streamed/groups.ts';
import { TargetCatalog } from '../target/catalog.ts';
import { Session } from '../target/session.ts';
import { announce } from './announce.ts';
import type { AppliedMark } from './applied-marks.ts';
import type { PipelineDeps } from './deps.ts';
import { EntryQueue } from './entry-queue.ts';
import type { Freshness } from './freshness.ts';
import { Gate } from './gate.ts';
import { Lanes } from './lanes.ts';
import { LostStream } from './lost.ts';
import { MainLane } from './main-lane.ts';
import { Progress } from './progress.ts';
import { checkStart, isLostPosition, readStart, type Start } from './start.ts';

export class Pipeline {
  readonly deps: PipelineDeps;
  readonly #progress = new Progress();
  readonly #lost: LostStream;
  readonly #catalog: TargetCatalog;
  #lanes: Lanes | undefined;
  #pending = 0;
  #error: string | null = 'starting';
  readonly #waiting = new Set<string>();

  constructor(deps: PipelineDeps) {
    this.#catalog = new TargetCatalog(deps.source, deps.board);
    this.deps = {
      ...deps,
      applied: (result, seconds) => {
        if (result.barriers.length > 0) announce(deps.bus, deps, result.barriers);
        if (result.heartbeatMs !== null) this.freshness.heartbeat(result.heartbeatMs);
        deps.applied(result, seconds);
      },
    };
    this.#lost = new LostStream(this.deps, this.#progress);
  }

  get freshness(): Freshness {
    return this.#progress.freshness;
  }

  /** Why it does not run, or null. */
  get error(): string | null {
    return this.#error;
  }

  /** Sequence up to which the stream is dealt with. */
  get position(): number {
    return this.#progress.position;
  }

  /** Messages that wait in the stream, as of the newest one read. */
  get pending(): number {
    return this.#pending;
  }

  get lanes(): readonly string[] {
    return this.#lanes?.tenants ?? [];
  }

  /** Is this the pipeline of that tenant of that database? */
  feeds(
    database: string,
    { tenant, source }: { readonly tenant: string; readonly source: string | null },
  ): boolean {
    const { deps } = this;
    return (
      deps.database === database &&
      deps.source === source &&
      deps.partition === partitionOf(tenant as TenantId, deps.partitions)
    );
  }

  get source(): string {
    return this.deps.source;
  }

  get partition(): number {
    return this.deps.partition;
  }

  get stream(): string {
    return streamName(this.deps.source, this.deps.partition);
  }

  /** The newest mark that holds for whoever has dealt with everything up to `seq`. */
  takeApplied(seq: number): AppliedMark | null {
    return this.#progress.marks.take(seq);
  }

  /** The tenant's row says `catchup`. */
  wantLane(tenant: string): void {
    if (this.#lanes === undefined) this.#waiting.add(tenant);
    else this.#lanes.want(tenant);
  }

  /** Until the signal aborts; never throws: what fails is logged, and tried again. */
  async run(signal: AbortSignal): Promise<void> {
    const { log } = this.deps;
    const backoff = new Backoff(50, 3000);
    while (!signal.aborted) {
      const before = this.position;
      try {
        await this.#once(signal);
      } catch (error) {
        if (signal.aborted) return;
        const told = this.#error;
        this.#error = describeError(error);
        const { kind, sqlstate } = classifyPgError(error);
        const waits = error instanceof DroverError && error.code === 'bus.lost';
        const passes = waits || kind === 'connection' || kind === 'starting' || sqlstate === '55006';
        const level = passes ? 'warn' : 'error';
        if (!isCancelled(error) && !(waits && told === this.#error))
          log[level]('a pipeline failed and starts again', { error: this.#error, sqlstate });
        if (this.position !== before) backoff.reset();
      }
      await sleep(backoff.nextMs(), signal);
    }
  }

  async #once(signal: AbortSignal): Promise<void> {
    const { deps, stream } = this;
    const progress = this.#progress;
    const session = await Session.open(deps.connect, deps.origin, deps.updateTurns);
    try {
      const start = await readStart(deps, session, this.freshness);
      progress.position = start.seq;
      progress.anchor = start.anchor;
      progress.marks.clear();
      const lostBefore = await checkStart(deps, start);
      if (lostBefore !== undefined) {
        await this.#lost.handle(session, start, lostBefore, signal);
        return;
      }
      this.#lost.found();
      const inner = new AbortController();
      const both = AbortSignal.any([signal, inner.signal]);
      const failures: unknown[] = [];
      const guard = async (work: Promise<void>): Promise<void> => {
        try {
          await work;
        } catch (error) {
          failures.push(error);
        } finally {
          inner.abort();
        }
      };
      const queue = new EntryQueue(deps.batchBytes * 2);
      const gate = new Gate();
      const groups = new StreamedGroups({
        deps,
        stream,
        created: start.created,
        slots: deps.slots,
        signal: both,
        onEnded: () => this.#lanes?.wake(),
      });
      const lanes = new Lanes({
        deps,
        stream,
        created: start.created,
        gate,
        position: () => progress.position,
        anchor: () => progress.anchor,
        groups,
        signal: both,
      });
      const main = new MainLane({
        deps,
        session,
        catalog: this.#catalog,
        progress,
        groups,
        lost: this.#lost,
        start,
        wantLane: (tenant) => this.wantLane(tenant),
        hasLane: (tenant) => lanes.has(tenant),
        signal: both,
      });
      this.#lanes = lanes;
      for (const tenant of this.#waiting) lanes.want(tenant);
      this.#waiting.clear();
      this.#error = null;
      await Promise.all([
        guard(this.#feed(queue, start, both)),
        guard(main.run(queue, gate)),
        guard(lanes.run()),
      ]);
      await groups.close();
      const lost = failures.find(isLostPosition);
      if (lost !== undefined && !signal.aborted)
        await this.#lost.handle(session, await readStart(deps, session, this.freshness), lost, signal);
      else if (failures.length > 0) throw failures.find((f) => !isCancelled(f)) ?? failures[0];
    } finally {
      this.#lanes = undefined;
      await session.close();
    }
  }

  async #feed(queue: EntryQueue, start: Start, signal: AbortSignal): Promise<void> {
    const { bus, source, partition, database, unsealing, profiling } = this.deps;
    const stop = (): void => queue.end(); // a full queue must not hold the shutdown up
    signal.addEventListener('abort', stop, { once: true });
    try {
      const messages = consume(bus, {
        cluster: source,
        partition,
        startSeq: start.seq + 1,
        expectCreated: start.created,
        ...(start.anchor === undefined ? {} : { anchor: start.anchor }),
        signal,
      });
      for await (const message of messages) {
        this.#pending = message.pending;
        const key = unsealing.ready(message.data);
        if (key !== null) await key;
        const profile = profiling.ready(message.data);
        if (profile !== null) await unlessAborted(signal, profile);
        await queue.push(toEntry(message, database, this.deps));
      }
    } finally {
      signal.removeEventListener('abort', stop);
      queue.end();
    }
  }
}
