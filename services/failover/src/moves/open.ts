/**
 * The end of a move, from which there is no way back: the target opens under the next epoch, the others become its replicas. Repeated
 * as often as it takes (I10).
 */
import type { Placement } from '@drover/catalog';
import type { ClusterId } from '@drover/core';
import { assert, DroverError, describeError, isCancelled, must, partitionOf } from '@drover/core';
import { readTenantRow, type TenantRow } from '@drover/pg';
import { mayFollowFrom } from './drain.ts';
import type { MoveContext } from './move.ts';
import { followTenant, openTenant } from './steps.ts';

export interface Left {
  /** Clusters that could not be told, or died: they must rejoin. */
  readonly returning: ClusterId[];
  /** Replicas that do not hold exactly what the new epoch begins with: they must be copied anew. */
  readonly copying: ClusterId[];
}

/**
 * Opened first: from then on the target's row says for good what the new epoch begins with, and the others are measured by it. Each is told by
 * itself, so that one that is silent delays none but the end of the move.
 */
export async function openAtTarget(context: MoveContext, placement: Placement): Promise<Left> {
  const { tenant, database } = placement;
  const move = must(placement.move, 'move of a moving placement');
  assert(move.step === 'open', 'a move opens after it has drained', { tenant });
  const to = context.clusters.pool(move.to, database);
  const before = await readTenantRow(to, tenant);
  if (before === null || before.epoch > move.nextEpoch) {
    throw new DroverError(
      'placement.stale_epoch',
      `${move.to} is at epoch ${before?.epoch ?? 0} of ${tenant}; it cannot be opened under ${move.nextEpoch}`,
    );
  }
  await openTenant(to, tenant, move.nextEpoch);
  const opened = must(await readTenantRow(to, tenant), 'row of the opened tenant');
  const left: Left = { returning: [], copying: [] };
  const following = {
    epoch: move.nextEpoch,
    source: move.to,
    partition: partitionOf(tenant, context.partitions),
    seq: must(move.openSeq, 'openSeq'),
  };
  const { seq } = following;
  const same = await mayFollowFrom(context, move.to, tenant, { seq, mark: move.openMark });
  const others: ClusterId[] = [];
  for (const [name, replica] of Object.entries(placement.replicas)) {
    const cluster = name as ClusterId;
    if (cluster === move.to || cluster === move.from) continue;
    // What is being reconciled, or copied, goes on so under the new epoch.
    if (replica.state === 'returning') left.returning.push(cluster);
    else if (replica.state === 'copying') left.copying.push(cluster);
    else others.push(cluster);
  }
  if (move.kind === 'failover') left.returning.push(move.from);
  else others.push(move.from);
  const beganWith = { epoch: placement.epoch, source: move.from, exact: move.kind === 'failover', opened };
  const tell = async (cluster: ClusterId): Promise<void> => {
    const pool = context.clusters.pool(cluster, database);
    // Under a rule it is to hold other rows than it does: it is copied anew.
    const wasPrimary = cluster === move.from && context.transformed?.(placement, cluster) !== true;
    const told = await followTenant(
      pool,
      tenant,
      following,
      (row) => same && ((wasPrimary && isClosedPrimary(row, placement.epoch)) || holdsAll(row, beganWith)),
    );
    if (told === 'behind') left.copying.push(cluster);
  };
  await Promise.all(
    others.map((cluster) =>
      tell(cluster).catch((error: unknown) => {
        if (isCancelled(error)) throw error;
        context.log.warn('a replica could not be told of the move', {
          tenant,
          cluster,
          error: describeError(error),
        });
        left.returning.push(cluster);
      }),
    ),
  );
  return left;
}

/** The old primary of a planned move: what was drained came from here. */
function isClosedPrimary(row: TenantRow | null, epoch: number): boolean {
  return row?.role === 'primary' && !row.open && row.epoch === epoch;
}

export interface BeganWith {
  /** The epoch that has ended, and who served it. */
  readonly epoch: number;
  readonly source: ClusterId;
  /** After a failover the old primary's later changes may still come; a replica that has one is not what the new epoch began with. */
  readonly exact: boolean;
  /** Row of the new primary after it was opened: it keeps the checkpoint up to which it had applied its source. */
  readonly opened: Pick<TenantRow, 'systemId' | 'generation' | 'commitLsn'>;
}

/** Whether a replica holds just what the new primary held when it opened. Pure; in doubt it does not. */
export function holdsAll(row: TenantRow | null, was: BeganWith): boolean {
  const { opened } = was;
  if (row === null || row.role !== 'replica' || row.epoch !== was.epoch || row.source !== was.source)
    return false;
  if (row.feed === 'copying' || row.feed === 'parked') return false;
  if (row.commitLsn === null || opened.commitLsn === null) return false;
  if (row.systemId !== opened.systemId || row.generation !== opened.generation) return false;
  if (row.lenientUntil !== null && row.commitLsn < row.lenientUntil) return false;
  return was.exact ? row.commitLsn === opened.commitLsn : row.commitLsn >= opened.commitLsn;
}
