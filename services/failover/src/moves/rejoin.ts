/**
 * A cluster that was dead is back: each tenant that was moved away from it is closed there, its unreplicated tail is brought into
 * the ledger of the tenant's new primary, and it becomes a replica again. Where it holds just what the new epoch began with, it simply follows;
 * with a tail, or in doubt, it is mended by a copy from the new primary (services/migration picks the state `copying` up).
 */
import { holdsPlace, lastPlace } from '@drover/bus';
import type { Placement } from '@drover/catalog';
import type { ClusterId, Lsn } from '@drover/core';
import { DroverError, formatLsn, must, parseLsn, partitionOf, until } from '@drover/core';
import { readTenantRow, slotName, type TenantRow } from '@drover/pg';
import type { BoundedPool } from './bounded-pool.ts';
import { lastSequence, mayFollowFrom, readLooked } from './drain.ts';
import { type MoveContext, reached } from './move.ts';
import { holdsAll } from './open.ts';
import { closeTenant, followTenant } from './steps.ts';

/** `over`: it is not returning any more. */
export type RejoinOutcome = 'follows' | 'mending' | 'over';

/** Whether a row, read under its lock, is still what was found to be just what the new epoch began with. */
type IsClean = (row: TenantRow | null) => boolean;

/** What is waited for, at most: the reader and the apply worker may have a lot to catch up with. Tried again after that. */
const PUBLISHED_MS = 60_000;
const PASSED_MS = 60_000;

/** Brings `cluster` back as a replica of the tenant. Safe to repeat; throws what stopped it, to be tried again. */
export async function rejoinTenant(
  context: MoveContext,
  seen: Placement,
  cluster: ClusterId,
): Promise<RejoinOutcome> {
  const { tenant } = seen;
  // The view may be older than the cluster's row: what is closed below must be out of office for sure.
  const placement = await stillReturning(context, seen, cluster);
  if (placement === undefined) return 'over';
  const back = context.clusters.pool(cluster, placement.database);
  const row = await readTenantRow(back, tenant);
  const clean =
    row?.role === 'primary'
      ? await drainOldPrimary(context, placement, cluster, row)
      : await cleanReplica(context, placement, cluster, row);
  await reached(context, 'rejoin.tail');
  let follows = false;
  // Under a rule the rows that it has are not those that a replica of the tenant has there.
  const fits = clean !== undefined && context.transformed?.(placement, cluster) !== true;
  const { epochSeq: seq, epochMark: mark, primary } = placement;
  if (fits && (await mayFollowFrom(context, primary, tenant, { seq, mark }))) {
    const following = {
      epoch: placement.epoch,
      source: primary,
      partition: partitionOf(tenant, context.partitions),
      seq,
    };
    follows = (await followTenant(back, tenant, following, clean)) === 'follows';
  }
  await reached(context, 'rejoin.following');
  await context.catalog.changePlacement(tenant, (p) => {
    if (!isReturning(p, placement, cluster)) return null;
    const since = new Date().toISOString();
    return {
      ...p,
      replicas: { ...p.replicas, [cluster]: { state: follows ? 'live' : 'copying', since } },
      updatedAt: since,
    };
  });
  return follows ? 'follows' : 'mending';
}

function isReturning(now: Placement, then: Placement, cluster: ClusterId): boolean {
  return (
    now.state === 'active' &&
    now.replicas[cluster]?.state === 'returning' &&
    now.primary === then.primary &&
    now.epoch === then.epoch
  );
}

async function stillReturning(
  context: MoveContext,
  seen: Placement,
  cluster: ClusterId,
): Promise<Placement | undefined> {
  const now = (await context.catalog.getPlacement(seen.tenant))?.value;
  return now !== undefined && isReturning(now, seen, cluster) ? now : undefined;
}

/** Closes what was left open there and brings the tail into the ledger (I8). Undefined when the tenant must be mended. */
async function drainOldPrimary(
  context: MoveContext,
  placement: Placement,
  cluster: ClusterId,
  row: TenantRow,
): Promise<IsClean | undefined> {
  const { tenant, database } = placement;
  if (row.epoch >= placement.epoch) {
    throw new DroverError(
      'placement.stale_epoch',
      `${cluster} is primary of ${tenant} under epoch ${row.epoch}; the placement is at ${placement.epoch}`,
    );
  }
  const back = context.clusters.pool(cluster, database);
  const barrier = await closeTenant(back, tenant, {
    epoch: row.epoch,
    by: 'rejoin',
    lockTimeoutMs: context.drainTimeoutMs,
    check: async () => {
      if ((await stillReturning(context, placement, cluster)) === undefined)
        throw new DroverError('placement.conflict', `${cluster} is not returning to ${tenant} any more`);
    },
  });
  await reached(context, 'rejoin.closed');
  const partition = partitionOf(tenant, context.partitions);
  const place = await lastPlace(context.bus, cluster, partition);
  await waitPublished(context, back, database, barrier);
  const serving = context.clusters.pool(placement.primary, database);
  await waitPassed(context, serving, placement, cluster);
  // The stream is another one than before: whether a tail stood in it, nobody can tell any more.
  if (!(await holdsPlace(context.bus, cluster, partition, place))) return undefined;
  const { rows } = await serving.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM drover.ledger WHERE tenant = $1 AND source = $2 AND epoch = $3 AND kind = 'stale_epoch'`,
    [tenant, cluster, row.epoch],
  );
  const tail = must(rows[0], 'count of the tail').n;
  if (tail > 0)
    context.log.warn('an unreplicated tail stands in the ledger', { tenant, cluster, transactions: tail });
  // Of epochs between the one that ended there and the present one it has nothing, and the present stream does not bring them.
  if (tail > 0 || row.epoch !== placement.epoch - 1) return undefined;
  return (now) => now?.role === 'primary' && !now.open && now.epoch === row.epoch;
}

/** A replica that could not be told of the move, or an earlier attempt that got as far as following. */
async function cleanReplica(
  context: MoveContext,
  placement: Placement,
  cluster: ClusterId,
  row: TenantRow | null,
): Promise<IsClean | undefined> {
  const { tenant, database, primary, epoch, lastMove } = placement;
  if (row === null) return undefined;
  if (row.epoch === epoch) return () => false; // follows already, or is copied already
  if (lastMove?.to !== primary || lastMove.from === cluster || row.epoch !== epoch - 1) return undefined;
  const opened = await readTenantRow(context.clusters.pool(primary, database), tenant);
  if (opened?.role !== 'primary' || opened.epoch !== epoch) return undefined;
  const was = { epoch: row.epoch, source: lastMove.from, exact: lastMove.kind === 'failover', opened };
  return (now) => holdsAll(now, was);
}

/** Everything up to `lsn` is on the bus once the slot has been confirmed past it. */
async function waitPublished(
  context: MoveContext,
  pool: BoundedPool,
  database: string,
  lsn: Lsn,
): Promise<void> {
  let state = 'there is no slot';
  await until(
    async () => {
      const { rows } = await pool.query<{ lsn: string | null; wal: string | null }>(
        'SELECT confirmed_flush_lsn::text AS lsn, wal_status AS wal FROM pg_catalog.pg_replication_slots WHERE slot_name = $1',
        [slotName(database)],
      );
      const slot = rows[0];
      if (slot !== undefined)
        state = `its slot stands at ${slot.lsn ?? 'nowhere'}, WAL ${slot.wal ?? 'unknown'}`;
      return slot?.lsn != null && parseLsn(slot.lsn) >= lsn ? true : undefined;
    },
    {
      everyMs: 100,
      timeoutMs: PUBLISHED_MS,
      signal: context.signal,
      onTimeout: () =>
        new DroverError(
          'failover.drain_timeout',
          `the returned cluster's reader has not published up to ${formatLsn(lsn)}: ${state}`,
        ),
    },
  );
}

/** The tail is in the ledger once the serving cluster's apply worker has dealt with all that the returned one has published. */
async function waitPassed(
  context: MoveContext,
  serving: BoundedPool,
  placement: Placement,
  source: ClusterId,
): Promise<void> {
  const { tenant } = placement;
  const end = await lastSequence(context, source, tenant);
  const partition = partitionOf(tenant, context.partitions);
  await until(
    async () => ((await readLooked(serving, tenant, source, partition)).seq >= end ? true : undefined),
    {
      everyMs: 100,
      timeoutMs: PASSED_MS,
      signal: context.signal,
      onTimeout: () =>
        new DroverError(
          'failover.drain_timeout',
          `the tail of ${source} was not read within ${PASSED_MS} ms`,
        ),
    },
  );
}
