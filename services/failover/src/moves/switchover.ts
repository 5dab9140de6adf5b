/**
 * A planned switch-over, step by step. The placement says which step has begun; each step is safe to repeat, so a new leader
 * goes on where the old one stopped. Before `open` it can be called off and the tenant goes on where it was; from `open` on it is
 * carried through.
 */
import type { Catalog, Move, Placement } from '@drover/catalog';
import { abortMove, advanceMove, beginAbort, finishMove } from '@drover/catalog';
import type { ClusterId, Lsn, TenantId } from '@drover/core';
import {
  assert,
  DroverError,
  describeError,
  formatLsn,
  isCancelled,
  LSN_ZERO,
  must,
  parseLsn,
  partitionOf,
} from '@drover/core';
import { readTenantRow } from '@drover/pg';
import type { Logger } from '@drover/telemetry';
import { type LiveProxies, quiesce } from './quiesce.ts';
import {
  closeTenant,
  followTenant,
  lastSequence,
  openTenant,
  reopenTenant,
  type StepContext,
  waitApplied,
} from './steps.ts';

export interface MoveContext extends StepContext {
  readonly catalog: Catalog;
  readonly live: LiveProxies;
  readonly drainTimeoutMs: number;
  readonly log: Logger;
  /** Called between steps; tests stop the leader here. */
  readonly failpoint?: (step: string) => Promise<void>;
}

/** Runs or resumes the switch-over of `placement` to its end. Resolves with the placement as it stands afterwards. */
export async function runSwitchover(context: MoveContext, placement: Placement): Promise<Placement> {
  const move = must(placement.move, 'move of a moving placement');
  const { tenant, database } = placement;
  const started = performance.now();
  const from = context.clusters.pool(move.from, database);
  const to = context.clusters.pool(move.to, database);
  let current = placement;
  const at = async (name: string) => context.failpoint?.(`switchover.${name}`);
  if (current.move?.step === 'abort') return finishAbort(context, current, move);
  try {
    if (current.move?.step === 'hold') {
      await requireLiveReplica(context, placement, move);
      const revision = must(await context.catalog.getPlacement(tenant), 'placement').revision;
      await quiesce(context.bus, tenant, revision, {
        live: context.live,
        timeoutMs: context.drainTimeoutMs,
        signal: context.signal,
      });
      await at('held');
      current = await change(context, tenant, move, (p) => advanceMove(p, 'close'));
    }
    let barrier: Lsn = LSN_ZERO;
    if (current.move?.step === 'close') {
      barrier = await closeTenant(from, tenant, {
        epoch: placement.epoch,
        by: move.id,
        lockTimeoutMs: context.drainTimeoutMs,
      });
      await at('closed');
      current = await change(context, tenant, move, (p) =>
        advanceMove(p, 'drain', { barrierLsn: formatLsn(barrier) }),
      );
    } else if (current.move?.barrierLsn !== undefined) {
      barrier = parseLsn(current.move.barrierLsn);
    }
    if (current.move?.step === 'drain') {
      await waitApplied(context, to, tenant, barrier, context.drainTimeoutMs);
      const openSeq = await lastSequence(context, move.to, tenant);
      await at('drained');
      current = await change(context, tenant, move, (p) => advanceMove(p, 'open', { openSeq }));
    }
  } catch (error) {
    if (isCancelled(error) || context.signal.aborted) throw error;
    return callOff(context, current, move, error);
  }
  assert(current.move?.step === 'open', 'a switch-over opens after it has drained', { tenant });
  const left = await openAtTarget(context, current);
  await at('opened');
  const holdMs = Math.round(performance.now() - started);
  return change(context, tenant, move, (p) => finishMove(p, { holdMs, ...left }));
}

/**
 * From here a move is carried through: the others become replicas of the new primary, then it opens. Those that could not be told
 * must return later; a replica that had not drained the old epoch must be copied anew.
 */
export async function openAtTarget(
  context: MoveContext,
  placement: Placement,
): Promise<{ returning: ClusterId[]; copying: ClusterId[] }> {
  const { tenant, database } = placement;
  const move = must(placement.move, 'move of a moving placement');
  const partition = partitionOf(tenant, context.partitions);
  const to = context.clusters.pool(move.to, database);
  const row = await readTenantRow(to, tenant);
  assert(row !== null && row.epoch <= move.nextEpoch, 'the target must not be ahead of the move', { tenant });
  const following = { epoch: move.nextEpoch, source: move.to, partition, seq: must(move.openSeq, 'openSeq') };
  const left: { returning: ClusterId[]; copying: ClusterId[] } = { returning: [], copying: [] };
  const others = Object.keys(placement.replicas).filter(
    (c) => c !== move.to && c !== move.from,
  ) as ClusterId[];
  if (move.kind === 'failover') left.returning.push(move.from);
  else others.push(move.from);
  for (const cluster of others) {
    try {
      const pool = context.clusters.pool(cluster, database);
      const state = await readTenantRow(pool, tenant);
      const drained =
        state?.role !== 'replica' ||
        state.epoch === move.nextEpoch ||
        (row.commitLsn !== null && state.commitLsn !== null && state.commitLsn >= row.commitLsn);
      if (drained) await followTenant(pool, tenant, following);
      else left.copying.push(cluster);
    } catch (error) {
      if (isCancelled(error)) throw error;
      context.log.warn('a replica could not be told of the move', {
        tenant,
        cluster,
        error: describeError(error),
      });
      left.returning.push(cluster);
    }
  }
  await openTenant(to, tenant, move.nextEpoch);
  return left;
}

/** Nothing was opened at the target, and once this is on record nobody can: the old primary goes on under its epoch. */
async function callOff(
  context: MoveContext,
  placement: Placement,
  move: Move,
  error: unknown,
): Promise<Placement> {
  const why = describeError(error);
  context.log.warn('switch-over called off', {
    tenant: placement.tenant,
    from: move.from,
    to: move.to,
    error: why,
  });
  const aborting = await change(context, placement.tenant, move, (p) => beginAbort(p, why));
  await context.failpoint?.('switchover.aborting');
  return finishAbort(context, aborting, move);
}

async function finishAbort(context: MoveContext, placement: Placement, move: Move): Promise<Placement> {
  const { tenant, database, epoch } = placement;
  await reopenTenant(context.clusters.pool(move.from, database), tenant, { epoch, by: move.id });
  await context.failpoint?.('switchover.reopened');
  return change(context, tenant, move, (p) => abortMove(p));
}

async function requireLiveReplica(context: MoveContext, placement: Placement, move: Move): Promise<void> {
  const row = await readTenantRow(context.clusters.pool(move.to, placement.database), placement.tenant);
  const state = placement.replicas[move.to]?.state;
  if (state !== 'live' || row?.role !== 'replica' || (row.feed !== 'live' && row.feed !== 'catchup')) {
    throw new DroverError(
      'tenant.no_replica',
      `${move.to} holds no live replica of ${placement.tenant} (${row?.feed ?? state ?? 'none'})`,
      {
        hint: `\`drover tenant show ${placement.tenant}\` says why`,
      },
    );
  }
}

/** Compare-and-set of the placement, only while it is still in this very move. */
export function change(
  context: MoveContext,
  tenant: TenantId,
  move: Move,
  fn: (placement: Placement) => Placement,
): Promise<Placement> {
  return context.catalog.changePlacement(tenant, (p) => {
    if (p.move?.id !== move.id) {
      throw new DroverError('placement.conflict', `the move ${move.id} of ${tenant} has ended elsewhere`);
    }
    return fn(p);
  });
}
