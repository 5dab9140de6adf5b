/**
 * Sequences at a switch-over: before a tenant is opened at its new primary, every sequence that feeds a column of its tables there is moved
 * beyond the values its rows have, and beyond the last one that its old primary handed out, where that can be asked. Safe to repeat;
 * other tenants may draw from the same sequences meanwhile (`packages/pg/src/schema/sequences.sql.ts`).
 */
import { type ClusterId, DroverError, describeError, sleep, type TenantId } from '@drover/core';
import { quoteIdent, quoteTable, readFedColumns } from '@drover/pg';
import type { BoundedPool } from './bounded-pool.ts';
import type { MoveContext } from './move.ts';
import { type Goal, goalsOf, type Wanted, wantedColumns } from './sequence-goals.ts';

export interface Carry {
  readonly tenant: TenantId;
  readonly database: string;
  readonly to: ClusterId;
  /** The old primary; null: it cannot be asked. */
  readonly from: ClusterId | null;
  readonly timeoutMs: number;
}

/** A table without an index for its greatest number is read for no longer than this. */
const SCAN_MS = 3000;
const AGAIN_MS = 50;

/** @throws DroverError pg.not_set_up, pg.privilege (`drover setup` mends both), failover.drain_timeout when a sequence stays in use */
export async function carrySequences(context: MoveContext, carry: Carry): Promise<void> {
  const { tenant, database, to, from, timeoutMs } = carry;
  const pool = context.clusters.pool(to, database);
  const [there, before] = await Promise.all([
    readFedColumns(pool),
    from === null ? [] : readFedColumns(context.clusters.pool(from, database)),
  ]);
  const wanted = wantedColumns(there, before, { tagging: context.tagging, database, tenant });
  if (wanted.length === 0) return;
  const greatest = await readGreatest(context, pool, wanted, tenant);
  let goals = goalsOf(wanted, greatest);
  const deadline = performance.now() + timeoutMs;
  while (goals.length > 0) {
    goals = await move(pool, goals);
    if (goals.length === 0) return;
    if (performance.now() > deadline) {
      const names = goals.map((goal) => goal.name).join(', ');
      throw new DroverError(
        'failover.drain_timeout',
        `transactions that draw from ${names} at ${to} did not end, so it could not be moved on for ${tenant}`,
        { hint: 'end them, or make the sequence without CACHE and CYCLE', facts: { tenant, cluster: to } },
      );
    }
    await sleep(AGAIN_MS, context.signal);
  }
}

/** The goals that are not reached yet. */
async function move(pool: BoundedPool, goals: readonly Goal[]): Promise<Goal[]> {
  try {
    const { rows } = await pool.query<{ behind: string[] }>(
      'CALL drover.carry_sequences($1::oid[], $2::bigint[], NULL::oid[])',
      [goals.map((goal) => goal.oid), goals.map((goal) => String(goal.value))],
    );
    const behind = new Set((rows[0]?.behind ?? []).map(Number));
    return goals.filter((goal) => behind.has(goal.oid));
  } catch (error) {
    throw carryError(error);
  }
}

function carryError(error: unknown): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === '42883') {
    return new DroverError('pg.not_set_up', 'the function that moves sequences on is missing', {
      cause: error,
      hint: 'run `drover setup` with a superuser',
    });
  }
  if (code !== '42501') return error;
  return new DroverError('pg.privilege', `a sequence may not be moved on: ${describeError(error)}`, {
    cause: error,
    hint: '`drover doctor` names the sequences and the grant that mends it',
  });
}

/** By index in `wanted`; null: no row, or nothing to be told from its rows. */
async function readGreatest(
  context: MoveContext,
  pool: BoundedPool,
  wanted: readonly Wanted[],
  tenant: TenantId,
): Promise<(bigint | null)[]> {
  const out: (bigint | null)[] = wanted.map(() => null);
  const quick = wanted.flatMap((w, index) => (w.fed.plain && w.read !== 'scan' ? [{ w, index }] : []));
  if (quick.length > 0) {
    const { rows } = await pool.query<{ i: number; v: string }>(
      quick.map(({ w, index }) => `SELECT ${index} AS i, (${greatestSql(w)})::text AS v`).join(' UNION ALL '),
    );
    for (const { i, v } of rows) out[i] = v === null ? null : BigInt(v);
  }
  for (const [index, w] of wanted.entries()) {
    if (!w.fed.plain || w.read !== 'scan') continue;
    try {
      out[index] = await scan(pool, w);
    } catch (error) {
      // query_canceled: the table is too large to be read now. What the old primary handed out still counts.
      if ((error as { code?: unknown }).code !== '57014') throw error;
      context.log.warn(
        'a table has no index for its greatest number, and is too large to be read at a switch-over',
        {
          tenant,
          table: `${w.fed.schema}.${w.fed.table}`,
          column: w.fed.column,
          known: w.handedOut !== null,
        },
      );
    }
  }
  return out;
}

function scan(pool: BoundedPool, wanted: Wanted): Promise<bigint | null> {
  return pool.transaction(async (client) => {
    await client.query(`SELECT pg_catalog.set_config('statement_timeout', '${SCAN_MS}', true)`);
    const { rows } = await client.query<{ v: string | null }>(`SELECT (${greatestSql(wanted)})::text AS v`);
    const value = rows[0]?.v ?? null;
    return value === null ? null : BigInt(value);
  });
}

/**
 * Values outside of the sequence's bounds, and its very last number, were put there by hand: the sequence does not reach them, or would
 * have nothing left to give.
 */
function greatestSql({ fed, where, read }: Wanted): string {
  const column = quoteIdent(fed.column);
  const { min, max, increment } = fed.sequence;
  const bounds =
    increment > 0n
      ? `${column} >= ${min} AND ${column} < ${max}`
      : `${column} > ${min} AND ${column} <= ${max}`;
  const rounded = increment > 0n ? `pg_catalog.ceil(${column})` : `pg_catalog.floor(${column})`;
  return `SELECT (${rounded})::bigint FROM ${quoteTable(fed.schema, fed.table)} WHERE ${read === 'table' ? '' : `${where} AND `}${bounds}
    ORDER BY ${column} ${increment > 0n ? 'DESC' : 'ASC'} LIMIT 1`;
}
