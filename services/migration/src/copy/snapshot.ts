/**
 * A snapshot of the source in which everything stands that the stream will not bring again. `N0`, the stream's last sequence, is read
 * before; then no transaction of the tenant may be between "its changes are on the bus" and "its rows are visible". Writers behind the proxy hold
 * the tenant's fence lock, so taking it for a moment is exact. For applications that bypass the proxy, transactions in progress are
 * waited for as well, unless they are seen idle: an idle one is not committing.
 */
import { sleep, type TenantId } from '@drover/core';
import type { PgPool } from '@drover/pg';
import type { TenantTable } from '../scope.ts';
import { beginReading, openSession, type Session, takeSnapshot } from '../sessions.ts';

const LOCK_TIMEOUT_MS = 2000;
const SETTLE_TIMEOUT_MS = 30_000;

export interface SnapshotOf {
  readonly tenant: TenantId;
  /** Nobody alters them until the session is closed. */
  readonly tables: readonly Pick<TenantTable, 'schema' | 'name'>[];
  readonly signal: AbortSignal;
  /** Told while transactions are waited for, each time that their number has changed: one that waits for a synchronous standby has no bound. */
  readonly onWaiting?: (transactions: number) => void;
}

/** A repeatable-read transaction at the source, until the session is closed. */
export async function openSnapshot(
  pool: PgPool,
  { tenant, tables, signal, onWaiting }: SnapshotOf,
): Promise<Session> {
  await settle(pool, signal, onWaiting);
  const session = await openSession(pool.options, 'drover copy', signal);
  try {
    await beginReading(session.client, tables); // may wait for a schema change, so not while writers wait for us
    await withTenantShutOut(pool, tenant, () => takeSnapshot(session.client));
    return session;
  } catch (error) {
    await session.close();
    throw error;
  }
}

/** Runs `inside` while no writer of the tenant is in a transaction; when one does not end in time, without that. */
export async function withTenantShutOut<T>(
  pool: PgPool,
  tenant: TenantId,
  inside: () => Promise<T>,
): Promise<T> {
  return pool.withClient(async (client) => {
    await client.query('BEGIN');
    try {
      await client.query(
        `SELECT pg_catalog.set_config('lock_timeout', $1, true), pg_catalog.set_config('statement_timeout', '0', true)`,
        [`${LOCK_TIMEOUT_MS}ms`],
      );
      await client
        .query('SELECT pg_catalog.pg_advisory_xact_lock(drover.lock_class(), pg_catalog.hashtext($1))', [
          tenant,
        ])
        .catch(async (error: unknown) => {
          if ((error as { code?: unknown }).code !== '55P03') throw error;
          // A long transaction of the tenant: `settle` has seen to it that it is not about to commit unseen.
          await client.query('ROLLBACK');
          await client.query('BEGIN');
        });
      return await inside();
    } finally {
      await client.query('ROLLBACK');
    }
  });
}

/**
 * Waits until each transaction that is in progress now has ended, or was seen idle, or has waited for nothing for long. A prepared one is idle unless
 * somebody commits it just now: it stays listed until it can be seen.
 */
async function settle(
  pool: PgPool,
  signal: AbortSignal,
  onWaiting: (transactions: number) => void = () => {},
): Promise<void> {
  let open = await inProgress(pool);
  let told = 0;
  const deadline = performance.now() + SETTLE_TIMEOUT_MS;
  while (open.length > 0 && !signal.aborted) {
    const still = await pool.query<{ xid: string }>(
      `SELECT x AS xid FROM pg_catalog.unnest($1::text[]) x
       WHERE pg_catalog.pg_xact_status(x::xid8) = 'in progress'
         AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_stat_activity a
           WHERE a.backend_xid::text = (x::xid8)::xid::text AND (a.state LIKE 'idle in transaction%'
             OR ($2 AND a.wait_event IS DISTINCT FROM 'SyncRep')))
         AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_prepared_xacts p WHERE p.transaction::text = (x::xid8)::xid::text
           AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_stat_activity a WHERE a.state = 'active' AND a.query ~* 'commit\\s+prepared'
             AND strpos(a.query, replace(p.gid, '''', '''''')) > 0))`,
      [open, performance.now() > deadline],
    );
    open = still.rows.map((r) => r.xid);
    if (open.length === 0) break;
    if (open.length !== told) onWaiting(open.length);
    told = open.length;
    await sleep(20, signal);
  }
}

/**
 * Transactions in progress. A snapshot lists those below its xmax, which is behind the newest that has ended: so one of ours ends first, and whatever had begun
 * before it is listed. It is rolled back, because a commit would wait for a synchronous standby.
 */
async function inProgress(pool: PgPool): Promise<string[]> {
  return pool.withClient(async (client) => {
    await client.query('BEGIN');
    try {
      await client.query('SELECT pg_catalog.pg_current_xact_id()');
    } finally {
      await client.query('ROLLBACK');
    }
    const { rows } = await client.query<{ xid: string }>(
      'SELECT pg_catalog.pg_snapshot_xip(pg_catalog.pg_current_snapshot())::text AS xid',
    );
    return rows.map(({ xid }) => xid);
  });
}
