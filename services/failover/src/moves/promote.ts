/**
 * Failover of one tenant away from a dead cluster. What JetStream holds is drained first, so every acknowledged write that
 * had reached it is there (I1); what had not stays in the dead cluster's WAL and reaches the ledger when it returns (I8).
 */
import type { Placement } from '@drover/catalog';
import { advanceMove, finishMove } from '@drover/catalog';
import { assert, type ClusterId, DroverError, must } from '@drover/core';
import {
  lastSequence,
  makeDurable,
  openPlace,
  waitConsumed,
  waitForOthers,
  waitReaderEmpty,
} from './drain.ts';
import { change, type MoveContext, reached, stillAt } from './move.ts';
import { openAtTarget } from './open.ts';
import { quiesce } from './quiesce.ts';
import { carrySequences } from './sequences.ts';

export interface PromoteOptions {
  /** A proxy without a sign of life is waited for at most this long: its lease and a margin. */
  readonly leaseMs: number;
}

/** How long the dead cluster's reader gets to have its last blocks acknowledged. */
const READER_EMPTY_MS = 2000;
/** A drain has no alternative: it gets this many times the patience of a planned one before it is begun again. */
const DRAIN_PATIENCE = 6;

/** Runs or resumes the failover of `placement` to its end; throws what stopped it, to be tried again. */
export async function runPromotion(
  context: MoveContext,
  placement: Placement,
  options: PromoteOptions,
): Promise<Placement> {
  const { tenant } = placement;
  const started = performance.now();
  let current = placement;
  if (moveOf(current).step === 'fence') current = await fence(context, current, options);
  if (moveOf(current).step === 'drain') current = await drain(context, current);
  assert(moveOf(current).step === 'open', 'a failover opens after it has drained', { tenant });
  const left = await openAtTarget(context, current);
  await reached(context, 'promote.opened');
  const holdMs = Math.round(performance.now() - started);
  return change(context, tenant, moveOf(current), (p) => finishMove(p, { holdMs, ...left }));
}

const moveOf = (placement: Placement) => must(placement.move, 'move of a moving placement');

/** I4: a proxy whose lease still runs and which has not let go may yet write on a cluster that is only cut off from us. */
async function fence(
  context: MoveContext,
  placement: Placement,
  options: PromoteOptions,
): Promise<Placement> {
  const { tenant } = placement;
  const move = moveOf(placement);
  const { revision } = await stillAt(context, tenant, move);
  const result = await quiesce(context.bus, tenant, revision, {
    live: context.live,
    timeoutMs: options.leaseMs * 2,
    signal: context.signal,
  });
  if (!result.quiet) {
    throw new DroverError(
      'bus.unreachable',
      `it is not sure that proxies let go of ${tenant}: ${result.missing.join(', ')}`,
    );
  }
  await reached(context, 'promote.fenced');
  return change(context, tenant, move, (p) => advanceMove(p, 'drain'));
}

async function drain(context: MoveContext, placement: Placement): Promise<Placement> {
  const { tenant } = placement;
  const move = moveOf(placement);
  await waitReaderEmpty(context, move.from, READER_EMPTY_MS);
  const seq = await lastSequence(context, move.from, tenant);
  const feeding = { source: move.from, epoch: placement.epoch };
  const consumed = (cluster: ClusterId, timeoutMs: number) => {
    const pool = context.clusters.pool(cluster, placement.database);
    return waitConsumed(context, { pool, tenant, feeding, seq, timeoutMs });
  };
  await consumed(move.to, context.drainTimeoutMs * DRAIN_PATIENCE);
  await waitForOthers(placement, consumed);
  const { database } = placement;
  await carrySequences(context, {
    tenant,
    database,
    from: null,
    to: move.to,
    timeoutMs: context.drainTimeoutMs,
  });
  await makeDurable(context.clusters.pool(move.to, placement.database), tenant);
  const open = await openPlace(context, move.to, tenant);
  await reached(context, 'promote.drained');
  return change(context, tenant, move, (p) => advanceMove(p, 'open', open));
}
