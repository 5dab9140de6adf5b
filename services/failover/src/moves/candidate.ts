/**
 * May this replica take a dead primary's tenant over? Asked before the move is on record, because a failover that has begun cannot be called
 * off: while nobody can take the tenant over, the old primary may yet come back and simply go on.
 */
import type { Placement } from '@drover/catalog';
import { type ClusterId, describeError, isCancelled, partitionOf } from '@drover/core';
import { lastSequence, readLooked, unfit } from './drain.ts';
import type { MoveContext } from './move.ts';
import type { StepContext } from './steps.ts';
import { why as transformedWhy } from './transformed.ts';

/** Messages of the partition that a replica may have left to deal with when a failover begins. */
const BEHIND_MAX = 64;

export interface Unable {
  /** Stays the same while the cause does. */
  readonly code: 'unfit' | 'transformed' | 'behind' | 'silent';
  readonly why: string;
}

/** Undefined: it may. */
export async function unable(
  context: StepContext & Pick<MoveContext, 'transformed'>,
  placement: Placement,
  to: ClusterId,
): Promise<Unable | undefined> {
  const { tenant, database, primary, epoch } = placement;
  if (context.transformed?.(placement, to) === true)
    return { code: 'transformed', why: transformedWhy(placement, to) };
  try {
    const end = await lastSequence(context, primary, tenant);
    const pool = context.clusters.pool(to, database);
    const { row, seq } = await readLooked(pool, tenant, primary, partitionOf(tenant, context.partitions));
    const why = unfit(row, { source: primary, epoch });
    if (why !== undefined) return { code: 'unfit', why: `${to} ${why}` };
    if (end - seq <= BEHIND_MAX) return undefined;
    return { code: 'behind', why: `${to} is ${end - seq} messages behind` };
  } catch (error) {
    if (isCancelled(error)) throw error;
    return { code: 'silent', why: `${to} does not tell: ${describeError(error)}` };
  }
}
