/**
 * A cluster that was dead is back: each tenant that was moved away from it is closed there, its unreplicated tail is brought into
 * the ledger of the tenant's new primary, and it becomes a replica again. Without a tail it simply follows; with one, its rows are
 * mended by a copy from the new primary (services/migration picks the state `copying` up).
 */
import type { Placement } from '@drover/catalog';
import type { ClusterId, Lsn } from '@drover/core';
import { DroverError, formatLsn, parseLsn, partitionOf, until } from '@drover/core';
import { readTenantRow, slotName } from '@drover/pg';
import { closeTenant, followTenant, lastSequence } from './steps.ts';
import type { MoveContext } from './switchover.ts';

export type RejoinOutcome = 'follows' | 'mending';

/** Brings `cluster` back as a replica of the tenant. Safe to repeat; throws what stopped it, to be tried again. */
export async function rejoinTenant(
  context: MoveContext,
  placement: Placement,
  cluster: ClusterId,
): Promise<RejoinOutcome> {
  const { tenant, database, primary } = placement;
  const partition = partitionOf(tenant, context.partitions);
  const back = context.clusters.pool(cluster, database);
  const row = await readTenantRow(back, tenant);
  if (row?.role === 'primary') {
    const barrier = await closeTenant(back, tenant, {
      epoch: row.epoch,
      by: 'rejoin',
      lockTimeoutMs: context.drainTimeoutMs,
    });
    await context.failpoint?.('rejoin.closed');
    await waitPublished(context, back, database, barrier);
  }
  const seq = await lastSequence(context, cluster, tenant);
  const serving = context.clusters.pool(primary, database);
  await waitPassed(context, serving, cluster, partition, seq);
  const tail = await serving.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM drover.ledger WHERE tenant = $1 AND source = $2 AND epoch = $3 AND kind = 'stale_epoch'`,
    [tenant, cluster, row?.role === 'primary' ? row.epoch : -1],
  );
  const mend = (tail.rows[0]?.n ?? 0) > 0;
  await context.failpoint?.('rejoin.tail');
  if (!mend)
    await followTenant(back, tenant, {
      epoch: placement.epoch,
      source: primary,
      partition,
      seq: placement.epochSeq,
    });
  await context.catalog.changePlacement(tenant, (p) => {
    if (p.replicas[cluster]?.state !== 'returning' || p.primary !== primary || p.epoch !== placement.epoch)
      return null;
    const since = new Date().toISOString();
    return {
      ...p,
      replicas: { ...p.replicas, [cluster]: { state: mend ? 'copying' : 'live', since } },
      updatedAt: since,
    };
  });
  return mend ? 'mending' : 'follows';
}

/** Everything up to `lsn` is on the bus once the slot has been confirmed past it. */
async function waitPublished(
  context: MoveContext,
  pool: ReturnType<MoveContext['clusters']['pool']>,
  database: string,
  lsn: bigint,
): Promise<void> {
  await until(
    async () => {
      const { rows } = await pool.query<{ lsn: string | null }>(
        'SELECT confirmed_flush_lsn::text AS lsn FROM pg_catalog.pg_replication_slots WHERE slot_name = $1',
        [slotName(database)],
      );
      const confirmed = rows[0]?.lsn;
      return confirmed != null && parseLsn(confirmed) >= lsn ? true : undefined;
    },
    {
      everyMs: 100,
      timeoutMs: 60_000,
      signal: context.signal,
      onTimeout: () =>
        new DroverError(
          'failover.drain_timeout',
          `the returned cluster's reader has not published up to ${formatLsn(lsn as Lsn)}`,
        ),
    },
  );
}

/** The tail is in the ledger once the serving cluster's apply worker has dealt with the partition up to `seq`. */
async function waitPassed(
  context: MoveContext,
  pool: ReturnType<MoveContext['clusters']['pool']>,
  source: ClusterId,
  partition: number,
  seq: number,
): Promise<void> {
  await until(
    async () => {
      const { rows } = await pool.query<{ seq: string }>(
        'SELECT stream_seq::text AS seq FROM drover.stream_position WHERE source = $1 AND partition = $2',
        [source, partition],
      );
      return seq === 0 || Number(rows[0]?.seq ?? 0) >= seq ? true : undefined;
    },
    {
      everyMs: 100,
      timeoutMs: 60_000,
      signal: context.signal,
      onTimeout: () =>
        new DroverError('failover.drain_timeout', `the tail of ${source} was not read within 60 s`),
    },
  );
}
