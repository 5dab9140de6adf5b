/**
 * Tenants that the main lane does not feed: each in `catchup` is read by a consumer of its own subject from behind its row's
 * stream_seq, and applied on one connection of its own, so that neither long catch-ups nor failures slow the main lane (I7).
 *
 * Hand-over is exact: with the main lane stopped between two transactions at position P, the tenant becomes `live` only when every
 * message of its at or below P has been dealt with. Messages beyond P that its lane has applied already are skipped by the main
 * lane by their sequence.
 */
import { type Anchor, consume, streamState, subjectOf } from '@drover/bus';
import {
  cancelled,
  DeficitRoundRobin,
  DroverError,
  isCancelled,
  LSN_ZERO,
  type Share,
  sleep,
  type TenantId,
  tenantToken,
} from '@drover/core';
import { classifyPgError, SQLSTATE } from '@drover/pg';
import type { BatchResult, Target } from '../apply/batch.ts';
import { applyBig } from '../apply/big-transaction.ts';
import { Executor, park, verdictOf } from '../apply/executor.ts';
import { type Entry, toEntry } from '../changes/entry.ts';
import { Paced } from '../fair/paced.ts';
import { BUSY_REASON } from '../fair/passing.ts';

import type { StreamedGroups } from '../streamed/groups.ts';
import { type CommitHeader, commitOf, readAgain } from '../streamed/read-again.ts';
import { TargetCatalog } from '../target/catalog.ts';
import { Session } from '../target/session.ts';
import type { PipelineDeps } from './deps.ts';
import { EntryQueue } from './entry-queue.ts';
import type { Gate } from './gate.ts';

/** Tenants that are read at once; the others wait their turn. */
const LANES_MAX = 8;
/** How long the main lane may be stopped for one hand-over. */
const HANDOVER_MS = 300;
/** The lanes' connection is closed when it was not needed for this long. */
const IDLE_MS = 5000;
/** How long a transaction of several parts waits, with its locks, for the main lane. */
const PASS_MS = 1000;
/** Who had too much to do for the main lane is not handed back before so long has passed. */
const BUSY_MS = 3000;
/** What a lane of weight 1 is given at a turn, at least. */
const QUANTUM_MIN = 64 * 1024;
/** A transaction of several parts that violates a constraint is tried so often before it counts as the tenant's failure. */
const VIOLATION_TRIES = 5;

class Overtaken extends Error {
  readonly seq: number;

  constructor(seq: number) {
    super('the main lane has not come so far');
    this.seq = seq;
  }
}

export interface LanesOptions {
  readonly deps: PipelineDeps;
  readonly stream: string;
  readonly created: string;
  readonly gate: Gate;
  /** The main lane's committed position. */
  readonly position: () => number;
  /** A message that the main lane has read. */
  readonly anchor: () => Anchor | undefined;
  readonly groups: StreamedGroups;
  readonly signal: AbortSignal;
}

class Lane {
  readonly tenant: string;
  readonly queue: EntryQueue;
  readonly stop = new AbortController();
  feeding: Promise<void> = Promise.resolve();
  /** All messages of the tenant up to here are dealt with. */
  seq: number;
  handOverAt = 0;
  /** Its turns beside other bulk work of the target. */
  readonly share: Share;
  /** A transaction of several parts is being written on a connection of its own. */
  aside = false;
  /** There was none to be had. */
  inline = false;

  constructor(tenant: string, seq: number, bytesMax: number, share: Share) {
    this.tenant = tenant;
    this.seq = seq;
    this.share = share;
    this.queue = new EntryQueue(bytesMax);
  }
}

export class Lanes {
  readonly #options: LanesOptions;
  readonly #lanes = new Map<string, Lane>();
  readonly #wanted = new Set<string>();
  /** Whose turn it is on the lanes' connection, in stored bytes by the weight of its tier. */
  readonly #order: DeficitRoundRobin<Lane>;
  readonly #asides = new Set<Promise<void>>();
  #failure: unknown;
  /** Tenants whose transaction of several parts met what may pass: how often, and when it is tried again (performance.now()). */
  readonly #again = new Map<string, { readonly tries: number; readonly atMs: number }>();
  #wake: () => void = () => undefined;
  #session: Session | undefined;
  #idleSince = performance.now();
  /** No transaction of several parts is begun before the main lane is here. */
  #overtaken = 0;
  readonly #catalog: TargetCatalog;

  constructor(options: LanesOptions) {
    this.#catalog = new TargetCatalog(options.deps.source, options.deps.board);
    this.#options = options;
    this.#order = new DeficitRoundRobin(Math.max(QUANTUM_MIN, options.deps.batchBytes / 4));
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
        await this.#closeIdle();
      }
    } finally {
      for (const lane of this.#lanes.values()) {
        lane.stop.abort();
        lane.queue.end();
        lane.share.leave();
      }
      await Promise.all([...this.#asides, ...[...this.#lanes.values()].map((lane) => lane.feeding)]);
      this.#lanes.clear();
      await this.#session?.close();
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
    const { deps } = this.#options;
    const session = await Session.open(deps.connect, origin).catch(() => undefined);
    if (session === undefined) {
      lane.inline = true; // no origin, or no connection, to spare
      return;
    }
    try {
      const catalog = new TargetCatalog(deps.source, deps.board);
      await this.#parts(lane, { ...(await this.#target(session)), catalog });
    } finally {
      await session.close();
    }
  }

  async #parts(lane: Lane, target: Target): Promise<void> {
    const { head } = lane.queue;
    const commit = head === undefined ? null : commitOf(head);
    await (commit === null ? this.#big(lane, target) : this.#streamed(lane, target, commit));
  }

  /** Nothing of the lane's is due: it has failed, or is handed over. */
  async #advance(lane: Lane): Promise<boolean> {
    const { failure } = lane.queue;
    if (lane.queue.length === 0 && failure !== undefined) {
      await this.#lost(lane, failure);
      return true;
    }
    if (lane.queue.length > 0) return false;
    if (performance.now() < lane.handOverAt) return false;
    lane.handOverAt = performance.now() + 50;
    return this.#handOver(lane);
  }

  async #open(tenant: string): Promise<void> {
    const { deps, stream, created } = this.#options;
    const session = await this.#ready();
    const [row] = await session.rows(
      `SELECT stream, stream_seq, reason FROM drover.tenant WHERE tenant = $1 AND role = 'replica' AND source = $2 AND feed = 'catchup'`,
      [tenant, deps.source],
    );
    if (row === undefined) return;
    let seq = row[0] === stream || row[0] === null ? Number(row[1] ?? 0) : 0;
    if (seq === 0) {
      const info = await deps.bus.jsm.streams.info(stream);
      seq = Math.max(0, (info.state.messages === 0 ? info.state.last_seq + 1 : info.state.first_seq) - 1);
    }
    const weight = (): number => deps.weightOf(tenant);
    const share = deps.turns.join(weight);
    const lane = new Lane(tenant, seq, deps.batchBytes, share);
    if (row[2] === BUSY_REASON) lane.handOverAt = performance.now() + BUSY_MS;
    this.#order.join(lane, weight());
    lane.queue.onArrival = () => this.#wake();
    this.#lanes.set(tenant, lane);
    lane.feeding = this.#feed(lane, created);
    deps.log.info('a tenant catches up in a lane of its own', { tenant, seq });
  }

  async #feed(lane: Lane, created: string): Promise<void> {
    const { deps, signal } = this.#options;
    const anchor = this.#options.anchor();
    try {
      const messages = consume(deps.bus, {
        cluster: deps.source,
        partition: deps.partition,
        startSeq: lane.seq + 1,
        token: tenantToken(lane.tenant as TenantId),
        expectCreated: created,
        ...(anchor === undefined ? {} : { anchor }),
        signal: AbortSignal.any([signal, lane.stop.signal]),
      });
      for await (const message of messages) {
        const key = deps.unsealing.ready(message.data);
        if (key !== null) await key;
        await lane.queue.push(toEntry(message, deps.database, deps));
        if (lane.stop.signal.aborted) break;
      }
      lane.queue.end();
    } catch (error) {
      lane.queue.end(error);
    }
  }

  /** Returns the bytes that were taken. */
  async #apply(lane: Lane, bytesMax: number): Promise<number> {
    const { deps, position, signal } = this.#options;
    const target = await this.#target();
    const { head } = lane.queue;
    if (head !== undefined && isPart(head)) {
      await this.#parts(lane, target);
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

  async #big(lane: Lane, target: Target): Promise<void> {
    const { signal } = this.#options;
    let last = lane.seq;
    const next = async (): Promise<Entry> => {
      let entry = await lane.queue.one(signal);
      // Of transactions in progress that another reading has begun, or of another database.
      while (entry.kind === 'part' || entry.kind === 'elsewhere') entry = await lane.queue.one(signal);
      await this.#mainPasses(entry.seq);
      last = entry.seq;
      if (entry.error !== null) throw entry.error;
      return entry;
    };
    const paced = new Paced(lane.share, AbortSignal.any([signal, lane.stop.signal]));
    const turn = () => paced.next(next);
    await this.#whole(lane, async () => {
      try {
        const result = await applyBig(target, await turn(), turn, this.#howLong(lane));
        return { result, last };
      } finally {
        paced.end();
      }
    });
  }

  /** Its parts stand earlier in the stream. */
  async #streamed(lane: Lane, target: Target, header: CommitHeader): Promise<void> {
    const { deps, created, signal } = this.#options;
    const commit = await lane.queue.one(signal);
    const { bus, source, partition, unsealing, rules } = deps;
    const from = { bus, source, partition, created, signal, unsealing, rules };
    const parts = readAgain(from, commit, header);
    const next = async (): Promise<Entry> => {
      const { value, done } = await parts.next();
      if (done === true || value === undefined) throw cancelled();
      return value;
    };
    const paced = new Paced(lane.share, AbortSignal.any([signal, lane.stop.signal]));
    await this.#whole(lane, async () => {
      try {
        const first = await next().catch((error: unknown) => {
          if (verdictOf(error) !== 'tenant' || isRecreated(error)) throw error;
          return error instanceof Error ? error : new Error(String(error));
        });
        const { log } = deps;
        // They have left the stream, or are damaged: that is this tenant's loss alone.
        if (first instanceof Error)
          return { result: await park(target, commit, first, log), last: commit.seq };
        const result = await applyBig(target, first, () => paced.next(next), this.#howLong(lane));
        return { result, last: commit.seq };
      } finally {
        paced.end();
        await parts.return();
      }
    });
  }

  /** A transaction of several parts; what may pass is tried again from its first part on. */
  async #whole(
    lane: Lane,
    apply: () => Promise<{ readonly result: BatchResult; readonly last: number }>,
  ): Promise<void> {
    const started = performance.now();
    try {
      const { result, last } = await apply();
      this.#options.deps.applied(result, (performance.now() - started) / 1000);
      this.#again.delete(lane.tenant);
      lane.seq = last;
      this.#settle(lane, [result]);
    } catch (error) {
      const moved = classifyPgError(error).sqlstate === SQLSTATE.schemaMoved;
      const overtaken = error instanceof Overtaken;
      if (!overtaken && !moved && !mayPass(error, this.#triesOf(lane))) throw error;
      if (overtaken) this.#overtaken = error.seq;
      else if (!moved) {
        const tries = this.#triesOf(lane) + 1;
        this.#again.set(lane.tenant, { tries, atMs: performance.now() + Math.min(1000, 25 * 2 ** tries) });
      }
      this.#close(lane);
      this.want(lane.tenant);
    }
  }

  #howLong(lane: Lane): Parameters<typeof applyBig>[3] {
    const pass = (error: unknown) => isRecreated(error) || mayPass(error, this.#triesOf(lane));
    return { log: this.#options.deps.log, mayPass: pass };
  }

  #triesOf(lane: Lane): number {
    return this.#again.get(lane.tenant)?.tries ?? 0;
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
    if ((this.#again.get(lane.tenant)?.atMs ?? 0) > performance.now()) return false;
    return !isPart(head) || position >= this.#overtaken;
  }

  /** @throws Overtaken when it does not: a schema change in the middle of a transaction waits for the locks that the lane holds */
  async #mainPasses(seq: number): Promise<void> {
    const { position, signal } = this.#options;
    const deadline = performance.now() + PASS_MS;
    while (position() < seq) {
      if (performance.now() > deadline) throw new Overtaken(seq);
      if (!(await sleep(20, signal))) throw cancelled();
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

  #close(lane: Lane): void {
    lane.stop.abort();
    lane.queue.end();
    lane.share.leave();
    this.#order.leave(lane);
    this.#lanes.delete(lane.tenant);
  }

  /** The tenant's own consumer cannot go on. */
  async #lost(lane: Lane, failure: unknown): Promise<void> {
    this.#close(lane);
    if (isCancelled(failure)) return;
    if (verdictOf(failure) !== 'tenant') throw failure;
    if (isRecreated(failure) && (await this.#isEverybodys(lane))) throw failure;
    const target = await this.#target();
    const nothing = { kind: 'damaged' as const, tenant: lane.tenant, block: null, from: 0, to: 0, size: 0 };
    const entry = {
      ...nothing,
      seq: lane.seq + 1,
      firstSeq: lane.seq + 1,
      error: null,
      traceparent: undefined,
      safeLsn: LSN_ZERO,
      timeMs: 0,
      begin: null,
      early: null,
    };
    const result = await park(target, entry, failure, this.#options.deps.log);
    this.#options.deps.applied(result, 0);
  }

  /** The stream is another one than before. Who looks first does not matter: what that means is said once, for all tenants (`pipeline.ts`). */
  async #isEverybodys(lane: Lane): Promise<boolean> {
    const { deps, created } = this.#options;
    const state = await streamState(deps.bus, deps.source, deps.partition);
    return state === undefined || state.created !== created || lane.seq <= state.lastSeq;
  }

  async #handOver(lane: Lane): Promise<boolean> {
    const { deps, gate, position, signal, stream } = this.#options;
    const subject = subjectOf(deps.source, deps.partition, tenantToken(lane.tenant as TenantId));
    const behind = async (): Promise<boolean> => {
      if (lane.seq >= position()) return false;
      const { head } = lane.queue;
      if (head !== undefined) return head.seq <= position();
      const last = await deps.bus.jsm.streams.getMessage(stream, { last_by_subj: subject });
      return last !== null && last.seq > lane.seq;
    };
    if (await behind()) return false;
    const release = await gate.hold();
    try {
      const deadline = performance.now() + HANDOVER_MS;
      while (await behind()) {
        const left = deadline - performance.now();
        if (left <= 0 || signal.aborted || !(await lane.queue.wait(signal, left))) return false;
        const { head } = lane.queue;
        // A transaction of several parts is not waited for with the main lane stopped.
        if (!this.#isDue(lane) || (head !== undefined && isPart(head))) return false;
        await this.#apply(lane, deps.batchBytes);
        if (!this.#lanes.has(lane.tenant)) return true;
      }
      const session = await this.#ready();
      const rows = await session.rows(
        `UPDATE drover.tenant SET feed = 'live', reason = NULL, stream = $3, updated_at = clock_timestamp(),
           stream_seq = CASE WHEN stream = $3 THEN greatest(stream_seq, $4::bigint) ELSE $4::bigint END
         WHERE tenant = $1 AND role = 'replica' AND source = $2 AND feed = 'catchup' RETURNING commit_lsn`,
        [lane.tenant, deps.source, stream, String(lane.seq)],
      );
      if (rows[0]?.[0] != null) {
        await session.rows(
          `UPDATE drover.ledger SET status = 'resolved', resolved_at = now(), resolved_by = coalesce(resolved_by, 'apply')
           WHERE tenant = $1 AND source = $2 AND status IN ('open', 'retried')
             AND (kind = 'poison' AND commit_lsn <= $3::pg_lsn OR kind = 'resync')`, // live again: it was copied anew
          [lane.tenant, deps.source, rows[0][0]],
        );
      }
      deps.log.info('a tenant is live', { tenant: lane.tenant, seq: lane.seq });
      this.#close(lane);
      return true;
    } finally {
      release();
    }
  }

  /** Origins in use are few (`max_active_replication_origins`): one that is not needed is given back. */
  async #closeIdle(): Promise<void> {
    if (this.#lanes.size > 0 || this.#wanted.size > 0) this.#idleSince = performance.now();
    if (this.#session === undefined || performance.now() - this.#idleSince < IDLE_MS) return;
    const session = this.#session;
    this.#session = undefined;
    await session.close();
  }

  async #target(own?: Session): Promise<Target> {
    const { deps, stream } = this.#options;
    const { cluster, source, partition, failpoint } = deps;
    const session = own ?? (await this.#ready());
    return { cluster, source, partition, stream, session, catalog: this.#catalog, failpoint };
  }

  async #ready(): Promise<Session> {
    this.#session ??= await Session.open(this.#options.deps.connect, `${this.#options.deps.origin}_lane`);
    return this.#session;
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

/** Locks, and rows of another tenant's that are about to go (they move between tenants), do. */
function mayPass(error: unknown, tries: number): boolean {
  const { kind, sqlstate } = classifyPgError(error);
  if (sqlstate === '55P03' || kind === 'deadlock' || kind === 'serialization') return true;
  return kind === 'conflict' && tries < VIOLATION_TRIES;
}

function isRecreated(error: unknown): boolean {
  return error instanceof DroverError && error.code === 'bus.recreated';
}

/** One that cannot be read stops its tenant, whatever it is a part of. */
function isPart(entry: Entry): boolean {
  const header = entry.block?.header;
  if (entry.error !== null) return false;
  return header !== undefined && (!header.complete || header.part > 0 || header.streamed !== undefined);
}
