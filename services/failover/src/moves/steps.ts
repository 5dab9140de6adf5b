/**
 * What a move does to the clusters, one function per effect, each safe to repeat (I10). Who calls them in which order,
 * and what is persisted in between, stands in `switchover.ts`, `promote.ts` and `rejoin.ts`; what is waited for, in `drain.ts`.
 */
import { type Bus, streamName } from '@drover/bus';
import type { ClusterId, Epoch, Lsn, TenantId } from '@drover/core';
import { DroverError, must, parseLsn } from '@drover/core';
import { followTenant as follow, openTenant as open, readTenantRow, type TenantRow } from '@drover/pg';
import type { BoundedPool } from './bounded-pool.ts';

export interface Clusters {
  /** Pool of `drover_admin` on the tenant's database of a cluster. */
  pool(cluster: ClusterId, database: string): BoundedPool;
}

export interface StepContext {
  readonly bus: Bus;
  readonly clusters: Clusters;
  readonly partitions: number;
  readonly signal: AbortSignal;
}

export interface Close {
  readonly epoch: number;
  /** The move that closes: only its close is ever taken back. */
  readonly by: string;
  readonly lockTimeoutMs: number;
  /** Asked while the tenant is locked; throws when the move does not go on. */
  readonly check: () => Promise<void>;
}

const CLOSED_BY = 'move:';

/**
 * Closes the tenant's writes on its primary and returns the barrier's LSN: no later commit of the tenant exists there. The row says which
 * move has closed it. All in one transaction under the tenant's lock, so that a stale leader can neither close for a move that has
 * ended nor put its name over the one of the move that goes on.
 * @throws DroverError `failover.drain_timeout` when a writer does not end in time
 */
export async function closeTenant(pool: BoundedPool, tenant: TenantId, close: Close): Promise<Lsn> {
  try {
    return await pool.transaction(async (client) => {
      await client.query(`SELECT pg_catalog.set_config('lock_timeout', $1, true)`, [
        String(Math.max(1, Math.round(close.lockTimeoutMs))),
      ]);
      await client.query('SELECT drover.lock_tenant($1)', [tenant]);
      await close.check();
      await client.query(
        `UPDATE drover.tenant SET reason = $3, updated_at = pg_catalog.now() WHERE tenant = $1 AND epoch = $2 AND role = 'primary'`,
        [tenant, close.epoch, CLOSED_BY + close.by],
      );
      const { rows } = await client.query<{ lsn: string }>(
        'SELECT drover.close_tenant($1, $2)::text AS lsn',
        [tenant, close.epoch],
      );
      return parseLsn(must(rows[0], 'barrier of the close').lsn);
    }, 2 * close.lockTimeoutMs);
  } catch (error) {
    if (!(error instanceof Error) || (error as { code?: unknown }).code !== '55P03') throw error;
    throw new DroverError('failover.drain_timeout', `transactions of ${tenant} did not end in time`, {
      cause: error,
    });
  }
}

/**
 * Takes the close of an ended move back. The epoch stays what it is: nothing else was opened under a newer one. A later move
 * puts its name on the row with its own close, so a stale call does nothing.
 */
export async function reopenTenant(
  pool: BoundedPool,
  tenant: TenantId,
  was: { epoch: number; by: string },
): Promise<boolean> {
  const { rowCount } = await pool.transaction((client) =>
    client.query(
      `UPDATE drover.tenant SET open = true, reason = NULL, updated_at = pg_catalog.now()
       WHERE tenant = $1 AND epoch = $2 AND role = 'primary' AND NOT open AND reason = $3`,
      [tenant, was.epoch, CLOSED_BY + was.by],
    ),
  );
  return rowCount === 1;
}

export interface ClosedTenant {
  readonly tenant: string;
  readonly epoch: number;
  readonly by: string;
}

/** Tenants whose primary is here and closed, with the move that closed them. */
export async function closedTenants(pool: BoundedPool): Promise<ClosedTenant[]> {
  const { rows } = await pool.query<{ tenant: string; epoch: number; by: string }>(
    `SELECT tenant, epoch::float8 AS epoch, substr(reason, $2) AS by FROM drover.tenant
     WHERE role = 'primary' AND NOT open AND starts_with(reason, $1)`,
    [CLOSED_BY, CLOSED_BY.length + 1],
  );
  return rows;
}

/** Opens the tenant for writing; done already under this epoch is success. */
export async function openTenant(pool: BoundedPool, tenant: TenantId, epoch: Epoch): Promise<void> {
  const row = await readTenantRow(pool, tenant);
  if (row?.epoch === epoch && row.role === 'primary' && row.open) return;
  await pool.transaction((client) => open(client, { tenant, epoch }));
}

export interface Following {
  readonly epoch: Epoch;
  readonly source: ClusterId;
  readonly partition: number;
  /** Last sequence of the source's stream that need not be read. */
  readonly seq: number;
}

export type Followed = 'follows' | 'copying' | 'behind';

/**
 * Makes `pool`'s cluster a replica fed by the new source, if what it holds is what the new epoch began with; `holdsAll` says so of its row. The
 * row is judged and changed under the tenant's lock. `copying`: a copy of this epoch is under way, which is left alone.
 */
export async function followTenant(
  pool: BoundedPool,
  tenant: TenantId,
  to: Following,
  holdsAll: (row: TenantRow | null) => boolean,
): Promise<Followed> {
  return pool.transaction(async (client) => {
    await client.query(`SELECT pg_catalog.set_config('lock_timeout', '2000', true)`);
    await client.query('SELECT drover.lock_tenant($1)', [tenant]);
    const row = await readTenantRow(client, tenant);
    if (row?.role === 'replica' && row.epoch === to.epoch) {
      return row.feed === 'copying' ? 'copying' : 'follows';
    }
    if (!holdsAll(row)) return 'behind';
    await follow(client, {
      tenant,
      epoch: to.epoch,
      source: to.source,
      feed: 'catchup',
      stream: streamName(to.source, to.partition),
      streamSeq: to.seq,
    });
    return 'follows';
  });
}
