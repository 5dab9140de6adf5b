/**
 * Schema changes at their place in a pipeline's order (docs/adr/0008-ddl.md). The first pipeline that reaches one makes what admits more, before
 * the rows of its transaction; the others see that it is done. What takes away or restricts is made behind those rows, when every pipeline
 * has passed them. Pipelines wait for each other at both places, for a moment: what comes out right does not hang on it.
 *
 * A change that cannot be made, or whose values only the source knows, parks the tenants whose rows are in the table, each at
 * exactly this place, with an entry in the ledger that says what to do (I7, I8).
 */
import { Backoff, describeError, formatLsn, isCancelled, type Lsn, parseLsn, sleep } from '@drover/core';
import { classifyPgError } from '@drover/pg';
import type { Logger } from '@drover/telemetry';
import type { Target } from '../apply/batch.ts';
import { type StreamPosition, writePosition } from '../apply/checkpoint.ts';
import type { Entry } from '../changes/entry.ts';
import { arrayLiteral } from '../target/array-literal.ts';
import { Unsupported } from './alteration.ts';
import { beginDdl } from './begin.ts';
import type { Board, Place } from './board.ts';
import type { DdlEntry, DdlMessage } from './message.ts';
import { parkTouched, type Verdict } from './park.ts';
import { runPending } from './pending.ts';
import type { Where } from './remember.ts';
import { StatementFailed } from './replica.ts';
import { expand, type Outcome, objectOf, rememberAll, type Touched, touchedBy } from './steps.ts';

/** How long pipelines wait for each other. */
const TOGETHER_MS = 3000;

export interface RunnerOptions {
  readonly partitions: number;
  readonly board: Board;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export class DdlRunner {
  readonly #target: Target;
  readonly #options: RunnerOptions;

  constructor(target: Target, options: RunnerOptions) {
    this.#target = target;
    this.#options = options;
  }

  /** Everything before the entry is committed; when it resolves, the entry is dealt with and the position written. Returns who was parked. */
  async run(
    entry: Entry,
    ddl: DdlEntry,
    position: StreamPosition,
  ): Promise<{ tenant: string; reason: string }[]> {
    const { board, signal } = this.#options;
    const generation = entry.block?.header.generation ?? 0;
    const place: Place = { generation, lsn: ddl.lsn, end: ddl.end };
    board.reach(this.#target.partition, place);
    const together = await board.wait(place, TOGETHER_MS, signal);
    const verdicts: Verdict[] = [];
    for (const { at, message } of ddl.changes) {
      const where = { source: this.#target.source, generation, lsn: ddl.lsn, at };
      const verdict = await this.#patiently(() => this.#make(where, message));
      if (verdict !== null) verdicts.push(verdict);
    }
    if (ddl.end) {
      if (together) await this.#contract(place);
      verdicts.push(...(await this.#refused(place)));
    }
    return this.#settle(entry, verdicts, position);
  }

  /** A heartbeat was passed: changes that waited for stragglers may be completed. */
  async passed(place: Place): Promise<void> {
    const { board } = this.#options;
    board.reach(this.#target.partition, place);
    if (!board.pending || !board.all(place)) return;
    await this.#contract(place);
  }

  #contract(place: Place): Promise<void> {
    const { board, log } = this.#options;
    return this.#patiently(() => runPending(this.#target, { place, board, log }));
  }

  /** What could not be completed of this transaction's changes, by whichever pipeline. */
  async #refused({ generation, lsn }: Place): Promise<Verdict[]> {
    const { session, source } = this.#target;
    const rows = await session.rows(
      `SELECT at::text, code, reason, touched::text, command FROM drover.ddl_step
       WHERE source = $1 AND generation = $2::int AND lsn = $3::pg_lsn AND status = 'refused' ORDER BY at`,
      [source, String(generation), formatLsn(lsn)],
    );
    return rows.map(([at, code, reason, touched, command]) => ({
      code: code ?? 'apply.ddl',
      reason: reason ?? '',
      touched: JSON.parse(touched ?? '[]') as Touched[],
      where: { source, generation, lsn, at: parseLsn(at ?? '') },
      command: command ?? '',
    }));
  }

  /** Until it is done; locks held by others, and deadlocks with them, are waited out. */
  async #patiently<T>(work: () => Promise<T>): Promise<T> {
    const { log, signal } = this.#options;
    const backoff = new Backoff(50, 2000);
    for (;;) {
      try {
        return await work();
      } catch (error) {
        await this.#target.session.rollback().catch(() => undefined);
        const cause = error instanceof StatementFailed ? error.cause : error;
        const { kind, sqlstate } = classifyPgError(cause);
        const mayPass = sqlstate === '55P03' || kind === 'serialization' || kind === 'deadlock';
        if (!mayPass || signal.aborted) throw error;
        if (backoff.attempt % 8 === 7)
          log.warn('a schema change waits for a lock on the replica', { error: describeError(cause) });
        if (!(await sleep(backoff.nextMs(), signal))) throw error;
      }
    }
  }

  /** One change, in a transaction of its own. Null: it is made, or was. */
  async #make(where: Where, message: DdlMessage): Promise<Verdict | null> {
    const { session } = this.#target;
    await beginDdl(this.#target);
    const stopped = (code: string, reason: string): Verdict => ({
      code,
      reason,
      touched: touchedBy(message),
      where,
      command: message.command,
    });
    const known = await this.#known(where);
    if (known !== null) return known.code === null ? null : stopped(known.code, known.reason);
    let outcome: Outcome;
    try {
      outcome = await expand(session, where, message);
      await this.#cancelOlder(outcome);
    } catch (error) {
      const reason = this.#refusal(error, message);
      if (reason === null) throw error;
      await session.rollback();
      await beginDdl(this.#target);
      const meanwhile = await this.#known(where);
      if (meanwhile !== null)
        return meanwhile.code === null ? null : stopped(meanwhile.code, meanwhile.reason);
      await rememberAll(session, where, message);
      outcome = { contract: [], touches: [], trouble: { code: 'apply.ddl', reason } };
    }
    await this.#note(where, message, outcome);
    const { board, log } = this.#options;
    board.changed();
    if (outcome.contract.length > 0) board.pending = true;
    const fields = { command: message.tag, object: objectOf(message), lsn: formatLsn(where.lsn) };
    if (outcome.trouble === null) {
      if (!message.baseline) log.info('schema changed as at the source', fields);
      return null;
    }
    log.error('a schema change stops the tenants of its table', {
      ...fields,
      reason: outcome.trouble.reason,
    });
    return stopped(outcome.trouble.code, outcome.trouble.reason);
  }

  /** What became of the change before; ends the transaction then. */
  async #known(where: Where): Promise<{ code: string | null; reason: string } | null> {
    const { session } = this.#target;
    const [row] = await session.rows(
      `SELECT code, reason FROM drover.ddl_step WHERE source = $1 AND generation = $2::int AND lsn = $3::pg_lsn AND at = $4::pg_lsn`,
      key(where),
    );
    if (row === undefined) return null;
    await session.rows('COMMIT');
    session.committed();
    return { code: row[0] ?? null, reason: row[1] ?? '' };
  }

  /** Why the change cannot be made; null: that is not the change's fault. */
  #refusal(error: unknown, message: DdlMessage): string | null {
    const what = `${message.tag} on ${objectOf(message)}`;
    if (error instanceof Unsupported)
      return `${what}: ${error.message}; make the change here by hand: ${message.command.slice(0, 1000)}`;
    if (!(error instanceof StatementFailed) || isCancelled(error.cause)) return null;
    const { kind, sqlstate } = classifyPgError(error.cause);
    if (sqlstate === undefined || sqlstate === '55P03') return null;
    if (!['conflict', 'schema', 'other', 'auth'].includes(kind)) return null;
    return `${what}: ${error.message} (${error.sql}); make the change here by hand: ${message.command.slice(0, 1000)}`;
  }

  /** What an earlier change still has to do to the same thing is overtaken by this one. */
  async #cancelOlder(outcome: Outcome): Promise<void> {
    if (outcome.touches.length === 0) return;
    const tables = outcome.touches.flatMap((t) => (t.startsWith('table:') ? [`${t.slice(6)}`] : []));
    await this.#target.session.rows(
      `UPDATE drover.ddl_step s SET contract = coalesce((SELECT jsonb_agg(a.value ORDER BY a.nr) FROM jsonb_array_elements(s.contract) WITH ORDINALITY AS a (value, nr)
         WHERE a.value ->> 'key' <> ALL ($2::text[]) AND split_part(a.value ->> 'key', ':', 2) <> ALL ($3::text[])), '[]')
       WHERE s.source = $1 AND s.status = 'pending'`,
      [this.#target.source, arrayLiteral(outcome.touches), arrayLiteral(tables)],
    );
  }

  async #note(where: Where, message: DdlMessage, { contract, trouble }: Outcome): Promise<void> {
    const { session } = this.#target;
    const status = trouble !== null ? 'refused' : contract.length > 0 ? 'pending' : 'done';
    await session.rows(
      `INSERT INTO drover.ddl_step (source, generation, lsn, at, tag, object, command, status, code, reason, touched, contract, finished_at)
       VALUES ($1, $2::int, $3::pg_lsn, $4::pg_lsn, $5, $6, $7, $8, $9, $10, $11::jsonb, $12::jsonb, CASE WHEN $8 = 'done' THEN now() END)`,
      [
        ...key(where),
        message.tag,
        objectOf(message),
        message.command,
        // What only its values make trouble about is completed all the same.
        status === 'refused' && contract.length > 0 ? 'pending' : status,
        trouble?.code ?? null,
        trouble?.reason ?? null,
        JSON.stringify(touchedBy(message)),
        JSON.stringify(contract),
      ],
    );
    await session.rows('UPDATE drover.ddl_epoch SET n = n + 1');
    await session.rows('COMMIT');
    session.committed();
  }

  /** The position, and with it the parking of this partition's tenants: all of it or nothing. */
  async #settle(
    entry: Entry,
    verdicts: readonly Verdict[],
    position: StreamPosition,
  ): Promise<{ tenant: string; reason: string }[]> {
    const { session, stream } = this.#target;
    const parked: { tenant: string; reason: string }[] = [];
    try {
      await session.rows('BEGIN');
      await session.rows('SET LOCAL synchronous_commit = on');
      for (const verdict of verdicts)
        parked.push(
          ...(await parkTouched(this.#target, { entry, verdict, partitions: this.#options.partitions })),
        );
      const flight = session.flight();
      writePosition(flight, this.#target, position);
      flight.statement('COMMIT');
      await session.send(flight);
      session.committed();
    } catch (error) {
      await session.rollback().catch(() => undefined);
      throw error;
    }
    for (const { tenant, reason } of parked)
      this.#options.log.error('a tenant is parked', { tenant, stream, error: reason });
    return parked;
  }
}

const key = ({ source, generation, lsn, at }: Where): string[] => [
  source,
  String(generation),
  formatLsn(lsn),
  formatLsn(at as Lsn),
];
