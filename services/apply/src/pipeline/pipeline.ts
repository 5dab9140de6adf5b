/**
 * One stream into one database of the target: reads (source, partition) from behind the position stored in that database and
 * applies the blocks that name this database. Several databases have a pipeline each, with positions of their own, so that a
 * position is always committed with the rows it speaks of.
 *
 * While one batch is on its way through PostgreSQL, the next is fetched and decoded; a batch is what has arrived meanwhile.
 */
import { consume, ensureStream, streamName, streamState } from '@drover/bus';
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
import { arrayLiteral, type BatchResult, type Target } from '../apply/batch.ts';
import { Executor } from '../apply/executor.ts';
import { type Entry, toEntry } from '../changes/entry.ts';
import { TargetCatalog } from '../target/catalog.ts';
import { Session } from '../target/session.ts';
import { announce } from './announce.ts';
import type { PipelineDeps } from './deps.ts';
import { EntryQueue } from './entry-queue.ts';
import { Freshness } from './freshness.ts';
import { Gate } from './gate.ts';
import { Lanes } from './lanes.ts';
import { countKnown, enterLineage, type Lineage } from './lineage.ts';

/** Batches of this size or more say that there is more to come: then a short pause makes the next one larger. */
const BUSY_BYTES = 256 * 1024;

interface Start {
  readonly seq: number;
  readonly created: string;
  readonly lineage: Lineage | null;
}

export class Pipeline {
  readonly deps: PipelineDeps;
  readonly freshness = new Freshness();
  readonly #catalog = new TargetCatalog();
  #lanes: Lanes | undefined;
  #position = 0;
  #pending = 0;
  #error: string | null = 'starting';
  readonly #waiting = new Set<string>();

  constructor(deps: PipelineDeps) {
    this.deps = {
      ...deps,
      applied: (result, seconds) => {
        if (result.barriers.length > 0) announce(deps.bus, deps, result.barriers);
        if (result.heartbeatMs !== null) this.freshness.heartbeat(result.heartbeatMs);
        deps.applied(result, seconds);
      },
    };
  }

  /** Why it does not run, or null. */
  get error(): string | null {
    return this.#error;
  }

  /** Sequence up to which the stream is dealt with. */
  get position(): number {
    return this.#position;
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
      const before = this.#position;
      try {
        await this.#once(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#error = describeError(error);
        const { kind, sqlstate } = classifyPgError(error);
        const level = kind === 'connection' || kind === 'starting' || sqlstate === '55006' ? 'warn' : 'error';
        if (!isCancelled(error))
          log[level]('a pipeline failed and starts again', { error: this.#error, sqlstate });
        if (this.#position !== before) backoff.reset();
      }
      await sleep(backoff.nextMs(), signal);
    }
  }

  async #once(signal: AbortSignal): Promise<void> {
    const { deps } = this;
    const session = await Session.open(deps.connect, deps.origin);
    try {
      const start = await this.#start(session);
      this.#position = start.seq;
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
      const lanes = new Lanes({
        deps,
        stream: streamName(deps.source, deps.partition),
        created: start.created,
        gate,
        position: () => this.#position,
        signal: both,
      });
      this.#lanes = lanes;
      for (const tenant of this.#waiting) lanes.want(tenant);
      this.#waiting.clear();
      this.#error = null;
      await Promise.all([
        guard(this.#feed(queue, start, both)),
        guard(this.#apply(session, queue, gate, start, both)),
        guard(lanes.run()),
      ]);
      const lost = failures.find(isLostPosition);
      if (lost !== undefined && !signal.aborted) await this.#loseAll(session, lost);
      else if (failures.length > 0) throw failures.find((f) => !isCancelled(f)) ?? failures[0];
    } finally {
      this.#lanes = undefined;
      await session.close();
    }
  }

  /** Where to begin: behind what this database has seen, or at the stream's first message. */
  async #start(session: Session): Promise<Start> {
    const { bus, source, partition, stream } = this.deps;
    // A stream that is there stays as it is: its bounds may have been changed since this process read its configuration.
    const state =
      (await streamState(bus, source, partition)) ??
      (await ensureStream(bus, { cluster: source, partition, ...stream }));
    const [row] = await session.rows(
      `SELECT stream_created, stream_seq, (extract(epoch FROM commit_time) * 1000)::bigint, system_id, generation
       FROM drover.stream_position WHERE source = $1 AND partition = $2::int`,
      [source, String(partition)],
    );
    if (row === undefined) return { seq: state.firstSeq - 1, created: state.created, lineage: null };
    this.freshness.heartbeat(Number(row[2] ?? 0));
    const [created, seq, , systemId, generation] = row;
    const lineage = generation == null ? null : { systemId: systemId ?? '', generation: Number(generation) };
    return { seq: Number(seq), created: created ?? '', lineage };
  }

  async #feed(queue: EntryQueue, start: Start, signal: AbortSignal): Promise<void> {
    const { bus, source, partition, database } = this.deps;
    const stop = (): void => queue.end(); // a full queue must not hold the shutdown up
    signal.addEventListener('abort', stop, { once: true });
    try {
      const messages = consume(bus, {
        cluster: source,
        partition,
        startSeq: start.seq + 1,
        expectCreated: start.created,
        signal,
      });
      for await (const message of messages) {
        this.#pending = message.pending;
        await queue.push(toEntry(message, database));
      }
    } finally {
      signal.removeEventListener('abort', stop);
      queue.end();
    }
  }

  async #apply(
    session: Session,
    queue: EntryQueue,
    gate: Gate,
    start: Start,
    signal: AbortSignal,
  ): Promise<void> {
    const { batchBytes, lingerMs, log } = this.deps;
    const executor = new Executor(this.#target(session), { lane: 'main', log, signal });
    gate.onRequest = () => queue.poke();
    let busy = false;
    let { lineage } = start;
    try {
      while (!signal.aborted) {
        await gate.pass();
        if (gate.wanted) continue;
        if (!(await queue.wait(signal))) {
          if (queue.ended) return;
          continue;
        }
        if (busy && queue.bytes < batchBytes && lingerMs > 0) await sleep(lingerMs, signal);
        let entries = queue.take(batchBytes);
        busy = entries.reduce((sum, entry) => sum + entry.size, 0) >= BUSY_BYTES;
        while (entries.length > 0) {
          const known = countKnown(entries, lineage);
          const first = entries[0];
          if (known === 0 && first !== undefined) {
            lineage = await this.#enter(session, start, lineage, first);
            continue;
          }
          await this.#run(executor, entries.slice(0, known), start);
          entries = entries.slice(known);
        }
      }
    } finally {
      gate.close();
    }
  }

  async #run(executor: Executor, entries: readonly Entry[], start: Start): Promise<void> {
    const last = entries.at(-1);
    if (last === undefined) return;
    const started = performance.now();
    const position = {
      seq: last.seq,
      created: start.created,
      commitTimeMs: this.freshness.heartbeatMs || null,
    };
    const results = await executor.run(entries, position);
    this.#position = last.seq;
    const seconds = (performance.now() - started) / 1000;
    for (const result of results) this.#settle(result, seconds / results.length);
  }

  /** The blocks of another slot begin. */
  async #enter(session: Session, start: Start, known: Lineage | null, entry: Entry): Promise<Lineage> {
    const { source, partition, partitions, log } = this.deps;
    const { lineage, parked, reason } = await enterLineage(session, {
      source,
      partition,
      partitions,
      stream: streamName(source, partition),
      created: start.created,
      position: this.#position,
      known,
      entry,
    });
    if (parked.length > 0) {
      log.error('the source began anew: tenants are parked until they are copied anew', {
        tenants: parked,
        reason,
      });
    }
    return lineage;
  }

  #settle(result: BatchResult, seconds: number): void {
    this.deps.applied(result, seconds);
    for (const tenant of result.demoted) this.wantLane(tenant);
    for (const { tenant, ms } of result.paused) this.deps.paused(tenant, ms);
    for (const { tenant, reason } of result.held) this.deps.log.info('a tenant is held', { tenant, reason });
  }

  #target(session: Session): Target {
    const { cluster, source, partition, failpoint } = this.deps;
    return {
      cluster,
      source,
      partition,
      stream: streamName(source, partition),
      session,
      catalog: this.#catalog,
      failpoint,
    };
  }

  /**
   * The stream does not hold what comes next: every tenant it feeds may have lost changes and is parked until it is copied anew.
   * The position moves to where the stream is now, so that copied tenants can be fed again. Nothing of this is silent.
   */
  async #loseAll(session: Session, error: DroverError): Promise<void> {
    const { deps } = this;
    const state = await streamState(deps.bus, deps.source, deps.partition);
    const rows = await session.rows(
      `SELECT tenant FROM drover.tenant WHERE role = 'replica' AND source = $1 AND feed <> 'parked'`,
      [deps.source],
    );
    const tenants = rows.flatMap(([tenant]) =>
      tenant != null && partitionOf(tenant as TenantId, deps.partitions) === deps.partition ? [tenant] : [],
    );
    const reason = `${error.code}: ${error.message}`;
    const flight = session.flight();
    flight.statement('BEGIN');
    flight.statement('SET LOCAL synchronous_commit = on');
    flight.statement(
      `UPDATE drover.tenant SET feed = 'parked', reason = $2, updated_at = now() WHERE tenant = ANY ($1::text[]) AND role = 'replica'
        AND source = $3 AND feed <> 'parked'`,
      [arrayLiteral(tenants), reason, deps.source],
    );
    flight.statement(
      `INSERT INTO drover.ledger (tenant, source, kind, reason, stream) SELECT t, $3, 'resync', $2, $4 FROM unnest($1::text[]) AS t`,
      [arrayLiteral(tenants), reason, deps.source, streamName(deps.source, deps.partition)],
    );
    flight.statement(
      `INSERT INTO drover.stream_position (source, partition, stream_created, stream_seq) VALUES ($1, $2::int, $3, $4::bigint)
       ON CONFLICT (source, partition) DO UPDATE SET stream_created = excluded.stream_created, stream_seq = excluded.stream_seq`,
      [
        deps.source,
        String(deps.partition),
        state?.created ?? '',
        String(Math.max(0, (state?.firstSeq ?? 1) - 1)),
      ],
    );
    flight.statement('COMMIT');
    await session.send(flight);
    deps.log.error('the stream has lost its past: tenants are parked until they are copied anew', {
      tenants,
      reason,
    });
  }
}

const isLostPosition = (error: unknown): error is DroverError =>
  error instanceof DroverError && (error.code === 'bus.truncated' || error.code === 'bus.recreated');
