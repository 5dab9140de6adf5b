/**
 * One stream into one database of the target: reads (source, partition) from behind the position stored in that database and
 * applies the blocks that name this database. Several databases have a pipeline each, with positions of their own, so that a
 * position is always committed with the rows it speaks of.
 *
 * While one batch is on its way through PostgreSQL, the next is fetched and decoded; a batch is what has arrived meanwhile.
 */
import { type Anchor, checkAnchor, consume, ensureStream, streamName, streamState } from '@drover/bus';
import {
  Backoff,
  cancelled,
  DroverError,
  describeError,
  formatLsn,
  isCancelled,
  type Lsn,
  partitionOf,
  sleep,
  type TenantId,
} from '@drover/core';
import { classifyPgError } from '@drover/pg';
import { arrayLiteral, type BatchResult, type Target } from '../apply/batch.ts';
import { Executor } from '../apply/executor.ts';
import { type Entry, headerOf, toEntry } from '../changes/entry.ts';
import { type DdlEntry, ddlOf } from '../ddl/message.ts';
import { resultOf } from '../ddl/result.ts';
import { DdlRunner } from '../ddl/runner.ts';
import { crowderOf } from '../fair/crowding.ts';
import { demote, withoutLanes } from '../fair/passing.ts';
import { StreamedGroups, togetherOf } from '../streamed/groups.ts';
import { TargetCatalog } from '../target/catalog.ts';
import { Session } from '../target/session.ts';
import { announce } from './announce.ts';
import { type AppliedMark, AppliedMarks } from './applied-marks.ts';
import {
  type AppliedUntil,
  appliedUntil,
  type Beginning,
  beginAnew,
  countUntilBegin,
  findBeginning,
} from './begin-anew.ts';
import type { PipelineDeps } from './deps.ts';
import { EntryQueue } from './entry-queue.ts';
import { Freshness } from './freshness.ts';
import { Gate } from './gate.ts';
import { Lanes } from './lanes.ts';
import { countKnown, enterLineage, type Lineage } from './lineage.ts';

/** Batches of this size or more say that there is more to come: then a short pause makes the next one larger. */
const BUSY_BYTES = 256 * 1024;
/** So much waits, and it is looked at who is waiting. */
const CROWD_BYTES = 1024 * 1024;
/** How often what waits is looked through for somebody who crowds the others out. */
const CROWD_MS = 100;
/** A reader that publishes for so long after a loss without a word of it has not noticed. */
const BEGIN_MS = 15_000;

interface Start {
  readonly seq: number;
  readonly created: string;
  readonly lineage: Lineage | null;
  readonly applied: AppliedUntil | null;
  /** The message at `seq`, as far as it is known. */
  readonly anchor: Anchor | undefined;
}

export class Pipeline {
  readonly deps: PipelineDeps;
  readonly freshness = new Freshness();
  readonly #catalog: TargetCatalog;
  #lanes: Lanes | undefined;
  #groups: StreamedGroups | undefined;
  readonly #marks = new AppliedMarks();
  #anchor: Anchor | undefined;
  /** Since when a stream that was lost is waited for, Unix ms. */
  #lostAtMs: number | null = null;
  #position = 0;
  #pending = 0;
  #error: string | null = 'starting';
  readonly #waiting = new Set<string>();
  #lookedAtMs = Number.NEGATIVE_INFINITY;

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
    return this.#marks.take(seq);
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
        const told = this.#error;
        this.#error = describeError(error);
        const { kind, sqlstate } = classifyPgError(error);
        const waits = error instanceof DroverError && error.code === 'bus.lost';
        const passes = waits || kind === 'connection' || kind === 'starting' || sqlstate === '55006';
        const level = passes ? 'warn' : 'error';
        if (!isCancelled(error) && !(waits && told === this.#error))
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
      this.#anchor = start.anchor;
      this.#marks.clear();
      const lostBefore = await this.#check(start);
      if (lostBefore !== undefined) {
        await this.#lost(session, start, lostBefore, signal);
        return;
      }
      this.#lostAtMs = null;
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
        stream: streamName(deps.source, deps.partition),
        created: start.created,
        slots: deps.slots,
        signal: both,
        onEnded: () => this.#lanes?.wake(),
      });
      this.#groups = groups;
      const lanes = new Lanes({
        deps,
        stream: streamName(deps.source, deps.partition),
        created: start.created,
        gate,
        position: () => this.#position,
        anchor: () => this.#anchor,
        groups,
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
      await groups.close();
      const lost = failures.find(isLostPosition);
      if (lost !== undefined && !signal.aborted)
        await this.#lost(session, await this.#start(session), lost, signal);
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
      `SELECT stream_created, stream_seq, (extract(epoch FROM commit_time) * 1000)::bigint, system_id, generation, message_ms,
              applied_lsn, applied_seq
       FROM drover.stream_position WHERE source = $1 AND partition = $2::int`,
      [source, String(partition)],
    );
    if (row === undefined) {
      const nothing = { lineage: null, applied: null, anchor: undefined };
      return { seq: state.firstSeq - 1, created: state.created, ...nothing };
    }
    this.freshness.heartbeat(Number(row[2] ?? 0));
    const [created, seq, , systemId, generation, messageMs, appliedLsn, appliedSeq] = row;
    const lineage = generation == null ? null : { systemId: systemId ?? '', generation: Number(generation) };
    return {
      seq: Number(seq),
      created: created ?? '',
      lineage,
      applied: appliedUntil(appliedLsn, appliedSeq),
      anchor:
        messageMs == null || Number(seq) < 1 ? undefined : { seq: Number(seq), timeMs: Number(messageMs) },
    };
  }

  /** Before anything is read, lanes of their own included: why the position means nothing in the stream as it is now. */
  async #check(start: Start): Promise<DroverError | undefined> {
    const { bus, source, partition } = this.deps;
    try {
      const state = await streamState(bus, source, partition);
      if (state !== undefined && state.created === start.created && state.lastSeq >= start.seq) {
        if (start.anchor !== undefined) await checkAnchor(bus, this.stream, start.anchor);
        return undefined;
      }
      return new DroverError(
        'bus.recreated',
        `stream ${this.stream} is not the one this position was taken from`,
      );
    } catch (error) {
      if (isLostPosition(error)) return error;
      throw error;
    }
  }

  async #feed(queue: EntryQueue, start: Start, signal: AbortSignal): Promise<void> {
    const { bus, source, partition, database, unsealing } = this.deps;
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
        await queue.push(toEntry(message, database, this.deps));
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
    const onBlocked = (): boolean => this.#groups?.abandon('the main lane waits for a lock') ?? false;
    const executor = new Executor(this.#target(session), { lane: 'main', log, signal, onBlocked });
    const { board, partitions } = this.deps;
    const ddl = new DdlRunner(this.#target(session), { partitions, board, log, signal });
    gate.onRequest = () => queue.poke();
    let busy = false;
    let { lineage } = start;
    let begun = 0;
    try {
      while (!signal.aborted) {
        await gate.pass();
        if (gate.wanted) continue;
        if (!(await queue.wait(signal))) {
          if (queue.ended) return;
          continue;
        }
        if (busy && queue.bytes < batchBytes && lingerMs > 0) await sleep(lingerMs, signal);
        if (queue.bytes >= Math.min(batchBytes, CROWD_BYTES)) await this.#uncrowd(session, queue);
        let entries = queue.take(batchBytes);
        busy = entries.reduce((sum, entry) => sum + entry.size, 0) >= BUSY_BYTES;
        while (entries.length > 0) {
          const known = Math.min(countKnown(entries, lineage), countUntilBegin(entries, begun));
          const first = entries[0];
          if (known === 0 && first?.begin != null && first.seq !== begun) {
            begun = first.seq;
            lineage = await this.#begin(session, { start, lineage, entry: first, lsn: first.begin });
            continue;
          }
          if (known === 0 && first !== undefined) {
            lineage = await this.#enter(session, start, lineage, first);
            continue;
          }
          const change = first === undefined ? null : ddlOf(first);
          if (first !== undefined && change !== null) {
            await this.#change(ddl, first, change, start);
            if (change.others) await this.#run(session, executor, [first], start);
            entries = entries.slice(1);
            continue;
          }
          const together = first === undefined ? null : togetherOf(first);
          if (first !== undefined && together !== null && (await this.#together(first, together, start))) {
            entries = entries.slice(1);
            continue;
          }
          const next = entries.findIndex(
            (entry, i) => ddlOf(entry) !== null || (i > 0 && togetherOf(entry) !== null),
          );
          const count = next < 0 ? known : Math.min(known, next);
          await this.#run(session, executor, entries.slice(0, count), start);
          await this.#passed(ddl, entries.slice(0, count));
          entries = entries.slice(count);
        }
      }
    } finally {
      gate.close();
    }
  }

  /** Whoever crowds the others out goes on in a lane of its own. */
  async #uncrowd(session: Session, queue: EntryQueue): Promise<void> {
    const { source, partition, partitions, weightOf, log } = this.deps;
    const now = performance.now();
    if (now - this.#lookedAtMs < CROWD_MS) return;
    this.#lookedAtMs = now;
    const lanes = this.#lanes;
    const seen = queue.waiting.filter(({ tenant }) => lanes?.has(tenant) !== true);
    const tenant = crowderOf(seen, weightOf);
    // Its rows of a transaction in progress are being written; that would begin anew.
    if (tenant === null || this.#groups?.writes(tenant) === true) return;
    const place = { source, partition, partitions, stream: this.stream };
    if (!(await demote(session, place, tenant, this.#position))) return;
    log.info('a tenant with much to do leaves the main lane', { tenant, seq: this.#position });
    this.wantLane(tenant);
  }

  async #run(session: Session, executor: Executor, entries: readonly Entry[], start: Start): Promise<void> {
    const last = entries.at(-1);
    if (last === undefined) return;
    const started = performance.now();
    const position = {
      seq: last.seq,
      created: start.created,
      messageMs: last.timeMs,
      commitTimeMs: this.freshness.heartbeatMs || null,
    };
    const { turns, source } = this.deps;
    const hasLane = (tenant: string): boolean => this.#lanes?.has(tenant) === true;
    const rest = await withoutLanes(session, { source }, entries, hasLane);
    const bytes = rest.reduce((sum, { size }) => sum + size, 0);
    const results = await turns.live(bytes, () => executor.run(rest, position));
    this.#position = last.seq;
    this.#anchor = { seq: last.seq, timeMs: last.timeMs };
    const parts = results.flatMap((result) => result.parts ?? []);
    this.#groups?.passed(parts, last.seq);
    if (this.deps.durability === 'applied') {
      for (const entry of entries) if (entry.block !== null) this.#marks.note(entry.firstSeq, entry.safeLsn);
    }
    const seconds = (performance.now() - started) / 1000;
    for (const result of results) this.#settle(result, seconds / results.length);
  }

  /** A transaction has committed whose rows may stand in the target already. True: they are committed, and the position with them. */
  async #together(
    entry: Entry,
    header: Parameters<StreamedGroups['commit']>[1],
    start: Start,
  ): Promise<boolean> {
    const started = performance.now();
    const position = {
      seq: entry.seq,
      created: start.created,
      messageMs: entry.timeMs,
      commitTimeMs: this.freshness.heartbeatMs || null,
    };
    const result = await this.#groups?.commit(entry, header, { lane: 'main', position });
    if (result == null) return false;
    this.#position = entry.seq;
    this.#anchor = { seq: entry.seq, timeMs: entry.timeMs };
    if (this.deps.durability === 'applied') this.#marks.note(entry.firstSeq, entry.safeLsn);
    this.#groups?.passed([], entry.seq);
    this.#settle(result, (performance.now() - started) / 1000);
    return true;
  }

  /** A change of the schema stands between what is applied and what follows. */
  async #change(ddl: DdlRunner, entry: Entry, change: DdlEntry, start: Start): Promise<void> {
    const started = performance.now();
    this.#groups?.abandon('the schema changes');
    const position = {
      seq: entry.seq,
      created: start.created,
      messageMs: entry.timeMs,
      commitTimeMs: this.freshness.heartbeatMs || null,
    };
    const parked = await ddl.run(entry, change, position);
    this.#position = entry.seq;
    this.#anchor = { seq: entry.seq, timeMs: entry.timeMs };
    if (this.deps.durability === 'applied') this.#marks.note(entry.firstSeq, entry.safeLsn);
    this.deps.applied(resultOf(parked), (performance.now() - started) / 1000);
  }

  async #passed(ddl: DdlRunner, entries: readonly Entry[]): Promise<void> {
    const header = headerOf(entries.findLast((entry) => entry.kind === 'heartbeat') ?? NOTHING);
    if (header !== undefined)
      await ddl.passed({ generation: header.generation, lsn: header.lastLsn, end: true });
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
    this.#marks.clear();
    if (parked.length > 0) {
      log.error('the source began anew: tenants are parked until they are copied anew', {
        tenants: parked,
        reason,
      });
    }
    return lineage;
  }

  /** The stream says that it has lost what was before. */
  async #begin(
    session: Session,
    at: { start: Start; lineage: Lineage | null; entry: Entry; lsn: Lsn },
  ): Promise<Lineage | null> {
    const now = await this.#start(session); // what is applied has moved on since
    await this.#beginAnew(session, { ...now, created: at.start.created, lineage: at.lineage }, at);
    const { systemId = '', generation = 0 } = headerOf(at.entry) ?? {};
    return { systemId, generation };
  }

  async #beginAnew(session: Session, start: Start, beginning: Beginning): Promise<void> {
    const { source, partition, partitions, log } = this.deps;
    const { parked, reason } = await beginAnew(session, {
      source,
      partition,
      partitions,
      stream: this.stream,
      created: start.created,
      known: start.lineage,
      applied: start.applied,
      beginning,
    });
    this.#marks.clear();
    const level = parked.length > 0 ? 'error' : 'warn';
    log[level]('the stream has lost what it held, and goes on from what the source had kept', {
      from: formatLsn(beginning.lsn),
      seq: beginning.entry.seq,
      reason,
      parked,
    });
  }

  /** The position means nothing any more. */
  async #lost(session: Session, start: Start, error: DroverError, signal: AbortSignal): Promise<void> {
    const { bus, source, partition, database, durability } = this.deps;
    if (durability !== 'applied' || error.code !== 'bus.recreated') {
      await this.#loseAll(session, error);
      return;
    }
    this.#lostAtMs ??= Date.now();
    const state = await streamState(bus, source, partition);
    if (state !== undefined) {
      const lane = { source, partition, database, state };
      const { beginning, newestMs } = await findBeginning(bus, lane, start.lineage, start.applied, signal);
      if (
        beginning !== null &&
        (state.created !== start.created || beginning.entry.timeMs > (start.anchor?.timeMs ?? 0))
      ) {
        await this.#beginAnew(session, { ...start, created: state.created }, beginning);
        return;
      }
      // A reader that publishes has begun by saying so, or does not know of a loss.
      const silent = state.created === start.created ? newestMs > this.#lostAtMs + BEGIN_MS : newestMs > 0;
      if (silent) {
        await this.#loseAll(session, error);
        return;
      }
    }
    if (signal.aborted) throw cancelled();
    throw new DroverError(
      'bus.lost',
      `${error.message}: waiting until the reader of ${source} publishes again what its slot holds`,
    );
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
       ON CONFLICT (source, partition) DO UPDATE SET stream_created = excluded.stream_created, stream_seq = excluded.stream_seq,
         message_ms = NULL, applied_lsn = NULL, applied_seq = NULL`,
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

const NOTHING = { block: null } as Entry; // only its block is looked at

const isLostPosition = (error: unknown): error is DroverError =>
  error instanceof DroverError && (error.code === 'bus.truncated' || error.code === 'bus.recreated');
