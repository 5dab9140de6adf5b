/**
 * A planned switch-over, step by step. The placement says which step has begun; each step is safe to repeat, so a new leader
 * goes on where the old one stopped. Before `open` it can be called off and the tenant goes on where it was; from `open` on it is
 * carried through.
 */
import type { Placement } from '@drover/catalog';
import { abortMove, advanceMove, beginAbort, finishMove } from '@drover/catalog';
import { assert, type ClusterId, describeError, formatLsn, isCancelled, must, parseLsn } from '@drover/core';
import { readTenantRow } from '@drover/pg';
import { type Feeding, makeDurable, openPlace, requireFit, waitApplied, waitForOthers } from './drain.ts';
import { change, isConflict, type MoveContext, reached, stillAt } from './move.ts';
import { openAtTarget } from './open.ts';
import { quiesce } from './quiesce.ts';
import { carrySequences } from './sequences.ts';
import { closeTenant, reopenTenant } from './steps.ts';
import { requireUntransformed } from './transformed.ts';

/** Runs or resumes the switch-over of `placement` to its end. Resolves with the placement as it stands afterwards. */
export async function runSwitchover(context: MoveContext, placement: Placement): Promise<Placement> {
  const { tenant } = placement;
  const started = performance.now();
  let current = placement;
  try {
    // One step a turn; each puts the next on record, so that this and every other controller goes on from there.
    for (let step = stepOf(current); step !== 'open' && step !== 'abort'; step = stepOf(current)) {
      current = await STEPS[step](context, current);
    }
  } catch (error) {
    if (isCancelled(error) || context.signal.aborted || isConflict(error)) throw error;
    current = await callOff(context, current, error);
  }
  if (stepOf(current) === 'abort') return finishAbort(context, current);
  const left = await openAtTarget(context, current);
  await reached(context, 'switchover.opened');
  const holdMs = Math.round(performance.now() - started);
  return change(context, tenant, moveOf(current), (p) => finishMove(p, { holdMs, ...left }));
}

const moveOf = (placement: Placement) => must(placement.move, 'move of a moving placement');

type Step = 'hold' | 'close' | 'drain' | 'open' | 'abort';

function stepOf(placement: Placement): Step {
  const { step, kind } = moveOf(placement);
  assert(kind === 'switchover' && step !== 'fence', 'a planned move has planned steps', { step });
  return step;
}

const STEPS = { hold, close, drain } as const satisfies Record<
  string,
  (context: MoveContext, placement: Placement) => Promise<Placement>
>;

/** Proxies hold new transactions. One that does not answer is no obstacle: the database refuses its writes once the tenant is closed. */
async function hold(context: MoveContext, placement: Placement): Promise<Placement> {
  const { tenant } = placement;
  const move = moveOf(placement);
  requireUntransformed(context, placement, move.to);
  const state = placement.replicas[move.to]?.state;
  const row = await readTenantRow(context.clusters.pool(move.to, placement.database), tenant);
  requireFit(state === 'live' ? row : null, feedingOf(placement), tenant);
  // Most of the way, and every obstacle, while the tenant is still served.
  await carry(context, placement);
  const { revision } = await stillAt(context, tenant, move);
  await quiesce(context.bus, tenant, revision, {
    live: context.live,
    timeoutMs: context.drainTimeoutMs,
    signal: context.signal,
  });
  await reached(context, 'switchover.held');
  return change(context, tenant, move, (p) => advanceMove(p, 'close'));
}

/** No write of the tenant commits here any more, and the barrier stands behind all that did (I1, I4). */
async function close(context: MoveContext, placement: Placement): Promise<Placement> {
  const { tenant } = placement;
  const move = moveOf(placement);
  await reached(context, 'switchover.closing');
  const barrier = await closeTenant(context.clusters.pool(move.from, placement.database), tenant, {
    epoch: placement.epoch,
    by: move.id,
    lockTimeoutMs: context.drainTimeoutMs,
    check: async () => void (await stillAt(context, tenant, move)),
  });
  await reached(context, 'switchover.closed');
  return change(context, tenant, move, (p) => advanceMove(p, 'drain', { barrierLsn: formatLsn(barrier) }));
}

async function drain(context: MoveContext, placement: Placement): Promise<Placement> {
  const { tenant } = placement;
  const move = moveOf(placement);
  const lsn = parseLsn(must(move.barrierLsn, 'barrier of a drain'));
  const applied = (cluster: ClusterId, timeoutMs: number) => {
    const pool = context.clusters.pool(cluster, placement.database);
    return waitApplied(context, { pool, tenant, feeding: feedingOf(placement), lsn, timeoutMs });
  };
  await applied(move.to, context.drainTimeoutMs);
  await waitForOthers(placement, applied);
  await carry(context, placement);
  await makeDurable(context.clusters.pool(move.to, placement.database), tenant);
  const open = await openPlace(context, move.to, tenant);
  await reached(context, 'switchover.drained');
  return change(context, tenant, move, (p) => advanceMove(p, 'open', open));
}

function carry(context: MoveContext, placement: Placement): Promise<void> {
  const { tenant, database } = placement;
  const { from, to } = moveOf(placement);
  return carrySequences(context, { tenant, database, from, to, timeoutMs: context.drainTimeoutMs });
}

function feedingOf(placement: Placement): Feeding {
  return { source: moveOf(placement).from, epoch: placement.epoch };
}

/** Nothing was opened at the target, and once this is on record nobody can: the old primary goes on under its epoch. */
async function callOff(context: MoveContext, placement: Placement, error: unknown): Promise<Placement> {
  const { tenant } = placement;
  const move = moveOf(placement);
  const why = describeError(error);
  context.log.warn('switch-over called off', { tenant, from: move.from, to: move.to, error: why });
  const aborting = await change(context, tenant, move, (p) => beginAbort(p, why));
  await reached(context, 'switchover.aborting');
  return aborting;
}

async function finishAbort(context: MoveContext, placement: Placement): Promise<Placement> {
  const { tenant, database, epoch } = placement;
  const move = moveOf(placement);
  await reopenTenant(context.clusters.pool(move.from, database), tenant, { epoch, by: move.id });
  await reached(context, 'switchover.reopened');
  return change(context, tenant, move, (p) => abortMove(p));
}
