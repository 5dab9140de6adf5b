/**
 * Applies what a lane has read and keeps failures to the tenant that has them (I7). A batch that fails is halved by tenants
 * until those that fail stand alone: the others go on in transactions of their own. In the main lane a failing tenant is handed to
 * a lane of its own; there its source transactions are applied one by one until the culprit is found and parked.
 *
 * Failures of the connection, of the server's resources and of a shutdown are nobody's: they are thrown to the pipeline, which
 * connects anew and begins behind the last checkpoint.
 */
import { Backoff, cancelled, DroverError, describeError, isCancelled, LSN_ZERO, sleep } from '@drover/core';
import { classifyPgError, SQLSTATE } from '@drover/pg';
import type { Logger } from '@drover/telemetry';
import { describeChanges } from '../changes/describe.ts';
import { byTransaction, type Entry } from '../changes/entry.ts';
import type { Lane } from '../decide/decide.ts';
import type { WriteMode } from '../write/write-changes.ts';
import { applyBatch, type BatchResult, begin, isSchemaError, schemaMoved, type Target } from './batch.ts';
import { type StreamPosition, writeStates } from './checkpoint.ts';
import { failureOf, writeNote } from './ledger.ts';

/** A serialization failure or deadlock is tried again this often before it counts as the tenant's failure. */
const CONFLICT_TRIES = 8;
/** A constraint violation may come from another tenant's row that is about to go (a row that moved between tenants). */
const VIOLATION_TRIES = 5;

export type Verdict = 'retry' | 'pipeline' | 'tenant';

/** Whose failure is it? Pure. */
export function verdictOf(error: unknown): Verdict {
  if (isCancelled(error)) return 'pipeline';
  if (error instanceof DroverError && (error.disposition === 'park' || error.disposition === 'resync'))
    return 'tenant';
  const { kind, sqlstate } = classifyPgError(error);
  if (sqlstate === '55P03') return 'tenant';
  if (sqlstate === SQLSTATE.schemaMoved) return 'retry';
  switch (kind) {
    case 'serialization':
    case 'deadlock':
      return 'retry';
    case 'connection':
    case 'starting':
    case 'auth':
    case 'resource':
    case 'cancelled':
      return 'pipeline';
    case 'conflict':
    case 'schema':
    case 'stale_epoch':
    case 'other':
      return sqlstate === undefined ? 'pipeline' : 'tenant';
  }
}

export interface ExecutorOptions {
  readonly lane: Lane;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** A lock was waited for in vain. True: whoever may have held it has been told to let go. */
  readonly onBlocked?: () => boolean;
}

export class Executor {
  readonly #target: Target;
  readonly #lane: Lane;
  readonly #log: Logger;
  readonly #signal: AbortSignal;
  readonly #onBlocked: (() => boolean) | undefined;

  constructor(target: Target, options: ExecutorOptions) {
    this.#target = target;
    this.#lane = options.lane;
    this.#log = options.log;
    this.#signal = options.signal;
    this.#onBlocked = options.onBlocked;
  }

  /** Everything in `entries` is dealt with, and the position written, when this resolves. One result per transaction, in order. */
  async run(entries: readonly Entry[], position: StreamPosition | null): Promise<BatchResult[]> {
    const whole = await this.#attempt(entries, 'folded', position);
    if (!isFailure(whole)) return [whole];
    this.#log.warn('a batch failed and is split by tenant', {
      entries: entries.length,
      error: describeError(whole.error),
    });
    this.#target.catalog.forget();
    const groups = Map.groupBy(entries, (entry) => entry.tenant);
    const rest = groups.get('') ?? [];
    groups.delete('');
    const results = await this.#halves([...groups.values()]);
    // Last, so that the position moves only when every tenant's share stands, and barriers for all speak the truth.
    const last = await this.#attempt(rest, 'folded', position);
    if (isFailure(last)) throw last.error;
    results.push(last);
    return results;
  }

  async #halves(groups: readonly (readonly Entry[])[]): Promise<BatchResult[]> {
    if (groups.length === 0) return [];
    const all = groups.flat().sort((a, b) => a.seq - b.seq);
    const result = await this.#attempt(all, 'folded', null);
    if (!isFailure(result)) return [result];
    if (groups.length > 1) {
      const middle = groups.length >> 1;
      return [
        ...(await this.#halves(groups.slice(0, middle))),
        ...(await this.#halves(groups.slice(middle))),
      ];
    }
    const inOrder = await this.#attempt(all, 'rows', null);
    if (!isFailure(inOrder)) return [inOrder];
    if (this.#lane === 'main') return [await this.#demote(all, inOrder.error)];
    return this.#careful(all);
  }

  /** The result, or a failure that is this batch's tenants'. @throws what is the pipeline's */
  async #attempt(
    entries: readonly Entry[],
    mode: WriteMode,
    position: StreamPosition | null,
  ): Promise<BatchResult | Failed> {
    const backoff = new Backoff(5, 250);
    for (;;) {
      try {
        return await applyBatch(this.#target, { entries, lane: this.#lane, mode, position });
      } catch (error) {
        const verdict = verdictOf(error);
        if (verdict === 'pipeline') throw error;
        if (classifyPgError(error).sqlstate === '55P03' && this.#onBlocked?.() === true) continue;
        if (await this.#movedOn(error)) {
          backoff.reset();
          continue;
        }
        if (verdict === 'tenant' || backoff.attempt >= CONFLICT_TRIES) return { failed: true, error };
        if (!(await sleep(backoff.nextMs(), this.#signal))) throw cancelled();
      }
    }
  }

  /** The failure is that of a plan from before a schema change. */
  async #movedOn(error: unknown): Promise<boolean> {
    if (classifyPgError(error).sqlstate === SQLSTATE.schemaMoved) return true;
    return isSchemaError(error) && (await schemaMoved(this.#target));
  }

  /** One source transaction after the other; the first that cannot be applied parks the tenant. */
  async #careful(entries: readonly Entry[]): Promise<BatchResult[]> {
    const results: BatchResult[] = [];
    for (const entry of entries.flatMap(byTransaction)) {
      const result = await this.#one(entry);
      results.push(result);
      if (result.states.get(entry.tenant)?.feed !== 'catchup') break;
    }
    return results;
  }

  async #one(entry: Entry): Promise<BatchResult> {
    const backoff = new Backoff(50, 1000);
    for (;;) {
      const folded = await this.#attempt([entry], 'folded', null);
      if (!isFailure(folded)) return folded;
      const result = await this.#attempt([entry], 'rows', null);
      if (!isFailure(result)) return result;
      const { kind, sqlstate } = classifyPgError(result.error);
      const mayPass = sqlstate === '55P03' || (kind === 'conflict' && backoff.attempt < VIOLATION_TRIES);
      if (!mayPass) return park(this.#target, entry, result.error, this.#log);
      if (!(await sleep(backoff.nextMs(), this.#signal))) throw cancelled();
    }
  }

  async #demote(entries: readonly Entry[], error: unknown): Promise<BatchResult> {
    const first = entries[0];
    const failure = failureOf(error);
    this.#log.warn('a tenant leaves the main lane', { tenant: first?.tenant, error: failure.message });
    return changeRow(this.#target, first, (state) => {
      if (state.feed !== 'live' || state.source !== this.#target.source) return { demoted: [] };
      state.feed = 'catchup';
      moveTo(state, this.#target.stream, (first?.firstSeq ?? 1) - 1);
      state.reason = `retrying: ${failure.message}`;
      return { demoted: [state.tenant] };
    });
  }
}

interface Failed {
  readonly failed: true;
  readonly error: unknown;
}

const isFailure = (result: BatchResult | Failed): result is Failed => 'failed' in result;

type State = NonNullable<ReturnType<BatchResult['states']['get']>>;

/** The tenant stops at this transaction: parked, with a ledger row that says why and what it would have written (I7, I8). */
export function park(target: Target, entry: Entry, error: unknown, log: Logger): Promise<BatchResult> {
  const failure = failureOf(error);
  const reason = `${failure.code}: ${failure.message}`;
  log.error('a tenant is parked', {
    tenant: entry.tenant,
    code: failure.code,
    sqlstate: failure.sqlstate,
    error: failure.message,
  });
  return changeRow(target, entry, (state) => {
    if (state.feed !== 'catchup' || state.source !== target.source) return { demoted: [] };
    state.feed = 'parked';
    state.reason = reason;
    moveTo(state, target.stream, entry.firstSeq - 1);
    const { block } = entry;
    const tx = block?.transactions[entry.from];
    const end = block?.transactions[entry.to - 1];
    const note = {
      kind: 'poison' as const,
      tenant: state.tenant,
      header: block?.header ?? { source: target.source, epoch: state.epoch as never, part: 0 },
      lsn: tx?.lsn ?? LSN_ZERO,
      stream: target.stream,
      seq: entry.seq,
      reason,
      detail: {
        error: failure.message,
        sqlstate: failure.sqlstate ?? null,
        hint: failure.detail ?? null,
        ...(error instanceof DroverError && error.code === 'block.sealed' ? error.facts : {}),
        ...(block === null || tx === undefined ? {} : describeChanges(block, tx.from, end?.to ?? tx.to)),
      },
    };
    return { demoted: [], note, parked: { tenant: state.tenant, reason } };
  });
}

/** Never back; a place in another stream says nothing about this one. */
function moveTo(state: State, stream: string, seq: number): void {
  state.streamSeq = state.stream === stream ? Math.max(state.streamSeq ?? 0, seq) : seq;
  state.stream = stream;
}

interface RowChange {
  readonly demoted: readonly string[];
  readonly note?: Parameters<typeof writeNote>[1];
  readonly parked?: { readonly tenant: string; readonly reason: string };
}

/** One tenant's row, changed in a durable transaction of its own. */
async function changeRow(
  target: Target,
  entry: Entry | undefined,
  change: (state: State) => RowChange,
): Promise<BatchResult> {
  const { session } = target;
  try {
    const states = await begin(session, entry === undefined ? [] : [entry]);
    const state = states.get(entry?.tenant ?? '');
    const made = state === undefined ? { demoted: [] } : change(state);
    const flight = session.flight();
    flight.statement('SET LOCAL synchronous_commit = on');
    if (state !== undefined) writeStates(session, flight, [state]);
    if ('note' in made && made.note !== undefined) writeNote(flight, made.note);
    flight.statement('COMMIT');
    await session.send(flight);
    session.committed();
    return {
      states,
      rows: 0,
      work: [],
      notes: 'note' in made && made.note !== undefined ? [made.note] : [],
      barriers: [],
      dirty: new Set(),
      demoted: made.demoted,
      paused: [],
      parked: 'parked' in made && made.parked !== undefined ? [made.parked] : [],
      held: [],
      counts: new Map(),
      transactions: 0,
      heartbeatMs: null,
      tenants: [],
    };
  } catch (error) {
    await session.rollback().catch(() => undefined);
    throw error;
  }
}
