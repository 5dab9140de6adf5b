/**
 * What a move does to the clusters, one function per effect, each safe to repeat (I10). Who calls them in which order,
 * and what is persisted in between, stands in `switchover.ts`, `promote.ts` and `rejoin.ts`.
 */
import { type Bus, callRpc, streamName } from '@drover/bus';
import type { ClusterId, Epoch, Lsn, TenantId } from '@drover/core';
import { DroverError, formatLsn, isCancelled, partitionOf, until } from '@drover/core';
import {
  closeTenant as closeForWrites,
  followTenant as follow,
  openTenant as open,
  type PgPool,
  readTenantRow,
} from '@drover/pg';

export interface Clusters {
  /** Pool of `drover_admin` on the tenant's database of a cluster. */
  pool(cluster: ClusterId, database: string): PgPool;
}

export interface StepContext {
  readonly bus: Bus;
  readonly clusters: Clusters;
  readonly partitions: number;
  readonly signal: AbortSignal;
}

/**
 * Closes the tenant's writes on its primary and returns the barrier's LSN: no later commit of the tenant exists there. The row says
 * which move has closed it, so that only this move's close is ever taken back.
 */
export async function closeTenant(
  pool: PgPool,
  tenant: TenantId,
  close: { epoch: number; by: string; lockTimeoutMs: number },
): Promise<Lsn> {
  await pool.query(
    `UPDATE drover.tenant SET reason = $3, updated_at = pg_catalog.now() WHERE tenant = $1 AND epoch = $2 AND role = 'primary'`,
    [tenant, close.epoch, CLOSED_BY + close.by],
  );
  return pool.withClient((client) =>
    closeForWrites(client, { tenant, epoch: close.epoch, lockTimeoutMs: close.lockTimeoutMs }),
  );
}

const CLOSED_BY = 'move:';

/**
 * Takes the close of an ended move back. The epoch stays what it is: nothing else was opened under a newer one. A later move
 * notes itself before it closes, so a stale call does nothing.
 */
export async function reopenTenant(
  pool: PgPool,
  tenant: TenantId,
  was: { epoch: number; by: string },
): Promise<boolean> {
  const { rowCount } = await pool.query(
    `UPDATE drover.tenant SET open = true, reason = NULL, updated_at = pg_catalog.now()
     WHERE tenant = $1 AND epoch = $2 AND role = 'primary' AND NOT open AND reason = $3`,
    [tenant, was.epoch, CLOSED_BY + was.by],
  );
  return rowCount === 1;
}

/** Tenants whose primary is here and closed, with the move that closed them. */
export async function closedTenants(pool: PgPool): Promise<{ tenant: string; epoch: number; by: string }[]> {
  const { rows } = await pool.query<{ tenant: string; epoch: number; by: string }>(
    `SELECT tenant, epoch::float8 AS epoch, substr(reason, $2) AS by FROM drover.tenant
     WHERE role = 'primary' AND NOT open AND starts_with(reason, $1)`,
    [CLOSED_BY, CLOSED_BY.length + 1],
  );
  return rows;
}

/** Opens the tenant for writing; done already under this epoch is success. */
export async function openTenant(pool: PgPool, tenant: TenantId, epoch: Epoch): Promise<void> {
  const row = await readTenantRow(pool, tenant);
  if (row?.epoch === epoch && row.role === 'primary' && row.open) return;
  await open(pool, { tenant, epoch });
}

/** Makes `pool`'s cluster a replica fed by `source` under `epoch`, from behind `seq` of the source's stream. */
export async function followTenant(
  pool: PgPool,
  tenant: TenantId,
  options: { epoch: Epoch; source: ClusterId; partition: number; seq: number },
): Promise<void> {
  await follow(pool, {
    tenant,
    epoch: options.epoch,
    source: options.source,
    feed: 'catchup',
    stream: streamName(options.source, options.partition),
    streamSeq: options.seq,
  });
}

/** Waits until the replica has applied the tenant up to `lsn` of its source. */
export async function waitApplied(
  context: StepContext,
  pool: PgPool,
  tenant: TenantId,
  lsn: Lsn,
  timeoutMs: number,
): Promise<void> {
  await until(
    async () => {
      const row = await readTenantRow(pool, tenant);
      if (row?.feed === 'parked') {
        throw new DroverError(
          'tenant.no_replica',
          `the replica of ${tenant} is parked: ${row.reason ?? 'no reason on record'}`,
          {
            hint: 'see `drover ledger list`',
          },
        );
      }
      return row?.commitLsn != null && row.commitLsn >= lsn ? true : undefined;
    },
    {
      everyMs: 15,
      timeoutMs,
      signal: context.signal,
      onTimeout: () =>
        new DroverError(
          'failover.drain_timeout',
          `the replica of ${tenant} did not reach ${formatLsn(lsn)} within ${timeoutMs} ms`,
        ),
    },
  );
}

/** Last sequence of the stream that carries the tenant's changes from `source`. */
export async function lastSequence(
  context: StepContext,
  source: ClusterId,
  tenant: TenantId,
): Promise<number> {
  const info = await context.bus.jsm.streams.info(
    streamName(source, partitionOf(tenant, context.partitions)),
  );
  return info.state.last_seq;
}

/** Waits until the replica has dealt with every message of `source` up to `seq`, as far as this tenant goes. */
export async function waitConsumed(
  context: StepContext,
  options: { pool: PgPool; tenant: TenantId; source: ClusterId; seq: number; timeoutMs: number },
): Promise<void> {
  const partition = partitionOf(options.tenant, context.partitions);
  await until(
    async () => {
      const row = await readTenantRow(options.pool, options.tenant);
      if (row?.role === 'replica' && row.feed === 'catchup') {
        return (row.streamSeq ?? 0) >= options.seq ? true : undefined;
      }
      if (row?.role === 'replica' && row.feed !== 'live') {
        throw new DroverError(
          'tenant.no_replica',
          `the replica of ${options.tenant} is ${row.feed ?? 'unknown'}: ${row.reason ?? ''}`,
        );
      }
      const { rows } = await options.pool.query<{ seq: string }>(
        'SELECT stream_seq::text AS seq FROM drover.stream_position WHERE source = $1 AND partition = $2',
        [options.source, partition],
      );
      return Number(rows[0]?.seq ?? 0) >= options.seq ? true : undefined;
    },
    {
      everyMs: 25,
      timeoutMs: options.timeoutMs,
      signal: context.signal,
      onTimeout: () =>
        new DroverError(
          'failover.drain_timeout',
          `the replica of ${options.tenant} did not drain the bus within ${options.timeoutMs} ms`,
        ),
    },
  );
}

/** Gives the reader of a dead cluster the moment to publish what it has read already. Its silence is no obstacle. */
export async function waitReaderEmpty(
  context: StepContext,
  source: ClusterId,
  timeoutMs: number,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (performance.now() < deadline && !context.signal.aborted) {
    try {
      const status = await callRpc(context.bus, `cdc.${source}.status`, {}, { timeoutMs: 500 });
      if (isRecord(status) && Number(status['inFlightBytes'] ?? 0) === 0) return;
    } catch (error) {
      if (isCancelled(error)) throw error;
      return;
    }
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
