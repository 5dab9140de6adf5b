/**
 * The second halves of schema changes, oldest first, each in a transaction of its own. One waits while a tenant of the source that is
 * copied, held, or catching up has rows from before it to come. Rows that stand in the way of a constraint (another tenant's, for example
 * one whose primary is here) keep it waiting, told and shown by doctor; whatever else the replica says is a refusal.
 */
import { describeError, formatLsn, parseLsn } from '@drover/core';
import { classifyPgError, quoteIdent } from '@drover/pg';
import type { Logger } from '@drover/telemetry';
import type { Target } from '../apply/batch.ts';
import type { Action } from './action.ts';
import { beginDdl } from './begin.ts';
import type { Board, Place } from './board.ts';
import type { Where } from './remember.ts';
import { readMap, runAction, StatementFailed } from './replica.ts';

/** After a constraint was violated it is tried again at most this often. */
const AGAIN_MS = 30_000;

export interface PendingOptions {
  /** All pipelines have passed it. */
  readonly place: Place;
  readonly board: Board;
  readonly log: Logger;
}

/** @throws what may pass (locks), and what is the connection's */
export async function runPending(target: Target, options: PendingOptions): Promise<void> {
  const { board, place } = options;
  if (performance.now() < board.notBefore) return;
  const steps = await target.session.rows(
    `SELECT lsn::text, at::text, generation::text, tag, object FROM drover.ddl_step WHERE source = $1 AND status = 'pending' ORDER BY generation, lsn, at`,
    [target.source],
  );
  board.pending = steps.length > 0;
  for (const [lsn = '', at = '', generation, tag, object] of steps) {
    const where = {
      source: target.source,
      generation: Number(generation),
      lsn: parseLsn(lsn ?? ''),
      at: parseLsn(at ?? ''),
    };
    if (where.generation === place.generation && where.lsn > place.lsn) break;
    if (await hasStragglers(target, lsn ?? '')) break;
    await complete(target, options, where, `${tag} on ${object}`);
  }
}

async function hasStragglers({ session, source }: Target, lsn: string): Promise<boolean> {
  const rows = await session.rows(
    `SELECT 1 FROM drover.tenant WHERE role = 'replica' AND source = $1 AND feed IN ('catchup', 'held', 'copying')
       AND (commit_lsn IS NULL OR commit_lsn < $2::pg_lsn) LIMIT 1`,
    [source, lsn],
  );
  return rows.length > 0;
}

/** With the names that things have by now; null: the source has it no more. */
async function latest({ session, source }: Target, action: Action): Promise<Action | null> {
  if (action.latest === undefined) return action;
  const [, table = '', part = ''] = action.key.split(':');
  const shape = (await readMap(session, source, Number(table)))?.shape;
  if (action.latest === 'index') {
    const index = shape?.indexes.find((i) => String(i.oid) === part);
    return index === undefined ? null : { ...action, sql: index.def };
  }
  const constraint = shape?.constraints.find((c) => String(c.oid) === part);
  if (constraint === undefined) return null;
  const name = quoteIdent(constraint.name);
  const what =
    action.latest === 'validate' ? `VALIDATE CONSTRAINT ${name}` : `ADD CONSTRAINT ${name} ${constraint.def}`;
  return { ...action, sql: `ALTER TABLE \u0001T ${what}` };
}

async function complete(
  target: Target,
  { board, log }: PendingOptions,
  where: Where,
  what: string,
): Promise<void> {
  const { session } = target;
  const id = [where.source, String(where.generation), formatLsn(where.lsn), formatLsn(where.at)];
  const mark = (set: string, params: readonly string[] = []): Promise<unknown> =>
    session.rows(
      `UPDATE drover.ddl_step SET ${set} WHERE source = $1 AND generation = $2::int AND lsn = $3::pg_lsn AND at = $4::pg_lsn`,
      [...id, ...params],
    );
  await beginDdl(target);
  const [row] = await session.rows(
    `SELECT contract::text, code FROM drover.ddl_step WHERE source = $1 AND generation = $2::int AND lsn = $3::pg_lsn AND at = $4::pg_lsn AND status = 'pending' FOR UPDATE`,
    id,
  );
  try {
    for (const action of JSON.parse(row?.[0] ?? '[]') as Action[]) {
      const statement = await latest(target, action);
      if (statement === null) continue;
      await runAction(session, statement);
      if (action.key.startsWith('table:')) {
        await session.rows(
          'UPDATE drover.ddl_map SET target_oid = NULL, shape = NULL WHERE source = $1 AND oid = $2::bigint',
          [where.source, action.key.slice(6)],
        );
      }
    }
    if (row !== undefined) await session.rows('UPDATE drover.ddl_epoch SET n = n + 1');
    if (row !== undefined)
      await mark(
        `contract = '[]', finished_at = now(), status = CASE WHEN code IS NULL THEN 'done' ELSE 'refused' END`,
      );
    await session.rows('COMMIT');
    session.committed();
    board.changed();
  } catch (error) {
    if (!(error instanceof StatementFailed)) throw error;
    const { kind, sqlstate } = classifyPgError(error.cause);
    if (
      sqlstate === undefined ||
      sqlstate === '55P03' ||
      !['conflict', 'schema', 'other', 'auth'].includes(kind)
    )
      throw error;
    await session.rollback();
    const reason = `${what}: ${error.message}; make the change here by hand: ${error.sql}`;
    const waits = sqlstate.startsWith('23');
    await session.rows('BEGIN');
    if (waits) await mark('reason = $5', [reason]);
    else
      await mark(`status = 'refused', finished_at = now(), code = coalesce(code, 'apply.ddl'), reason = $5`, [
        reason,
      ]);
    await session.rows('COMMIT');
    if (waits) board.notBefore = performance.now() + AGAIN_MS;
    log.error(
      waits
        ? 'rows of the replica stand in the way of a schema change'
        : 'a schema change could not be completed',
      {
        error: describeError(error),
        statement: error.sql,
      },
    );
  }
}
