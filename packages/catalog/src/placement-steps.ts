/**
 * The transitions of a placement. Pure and total: each asserts its precondition and gives the next placement; who may call
 * them when stands in docs/architecture.md. The epoch grows exactly when another cluster (or the same one anew) is opened.
 */
import { assert, type ClusterId, DroverError, epoch, must } from '@drover/core';
import type { Move, Placement, PromoteStep, SwitchStep } from './placement.ts';

const SWITCH: readonly SwitchStep[] = ['hold', 'close', 'drain', 'open'];
const PROMOTE: readonly PromoteStep[] = ['fence', 'drain', 'open'];

export interface BeginMove {
  readonly id: string;
  readonly to: ClusterId;
  readonly reason: string;
  readonly now?: Date;
}

/** @throws DroverError `tenant.busy` while it moves, `tenant.no_replica` without a live replica at `to`. */
export function beginSwitchover(placement: Placement, request: BeginMove): Placement {
  return begin(placement, request, 'switchover', 'hold');
}

/** As {@link beginSwitchover}, for a primary that is dead. */
export function beginFailover(placement: Placement, request: BeginMove): Placement {
  return begin(placement, request, 'failover', 'fence');
}

function begin(placement: Placement, request: BeginMove, kind: Move['kind'], step: Move['step']): Placement {
  if (placement.state !== 'active') {
    throw new DroverError(
      'tenant.busy',
      `${placement.tenant} is being moved to ${placement.move?.to ?? 'another cluster'}`,
      {
        hint: 'wait for it to end: `drover tenant show`',
      },
    );
  }
  if (request.to === placement.primary) {
    throw new DroverError('tenant.no_replica', `${placement.tenant} is served by ${request.to} already`);
  }
  const replica = placement.replicas[request.to];
  if (replica?.state !== 'live') {
    throw new DroverError(
      'tenant.no_replica',
      `${request.to} holds no live replica of ${placement.tenant} (${replica?.state ?? 'none'})`,
      {
        hint: `add one with \`drover tenant replicate ${placement.tenant} --to ${request.to}\` and wait until it is live`,
      },
    );
  }
  const now = (request.now ?? new Date()).toISOString();
  return {
    ...placement,
    state: 'moving',
    move: {
      id: request.id,
      kind,
      from: placement.primary,
      to: request.to,
      nextEpoch: epoch(placement.epoch + 1),
      step,
      startedAt: now,
      reason: request.reason,
    },
    updatedAt: now,
  };
}

/** To the next step of its kind, never back, never past one. */
export function advanceMove(
  placement: Placement,
  step: Move['step'],
  facts: { readonly barrierLsn?: string; readonly openSeq?: number; readonly openMark?: string } = {},
  now = new Date(),
): Placement {
  const move = must(placement.move, 'move of a moving placement');
  const order: readonly Move['step'][] = move.kind === 'switchover' ? SWITCH : PROMOTE;
  const from = order.indexOf(move.step);
  assert(from >= 0 && order[from + 1] === step, 'a move goes from step to step', {
    from: move.step,
    to: step,
    kind: move.kind,
  });
  assert(
    move.kind !== 'switchover' || step !== 'drain' || facts.barrierLsn !== undefined,
    'a drain needs its barrier',
  );
  assert(step !== 'open' || facts.openSeq !== undefined, 'opening needs the sequence it begins behind');
  return { ...placement, move: { ...move, step, ...facts }, updatedAt: now.toISOString() };
}

/** A planned move whose old primary died before the target was opened. */
export function convertToFailover(placement: Placement, reason: string, now = new Date()): Placement {
  const move = must(placement.move, 'move of a moving placement');
  assert(move.kind === 'switchover' && move.step !== 'open', 'an opened move is carried through', {
    step: move.step,
  });
  const { barrierLsn: _, error: __, ...rest } = move;
  return {
    ...placement,
    move: { ...rest, kind: 'failover', step: 'fence', reason },
    updatedAt: now.toISOString(),
  };
}

export interface Outcome {
  readonly holdMs: number;
  /** Clusters that could not be told of the move: they must rejoin. */
  readonly returning?: readonly ClusterId[];
  /** Replicas that had not drained the old epoch: they must be copied anew. */
  readonly copying?: readonly ClusterId[];
  readonly now?: Date;
}

/** `to` serves under the next epoch; the old primary and the others are replicas of it. */
export function finishMove(placement: Placement, outcome: Outcome): Placement {
  const move = must(placement.move, 'move of a moving placement');
  assert(move.step === 'open', 'a move ends after it has opened the target', { step: move.step });
  const now = (outcome.now ?? new Date()).toISOString();
  const replicas: Record<string, Placement['replicas'][string]> = {
    ...placement.replicas,
    [move.from]: { state: 'live', since: now },
  };
  delete replicas[move.to];
  for (const cluster of outcome.returning ?? []) replicas[cluster] = { state: 'returning', since: now };
  for (const cluster of outcome.copying ?? []) replicas[cluster] = { state: 'copying', since: now };
  const { move: _, epochMark: __, ...rest } = placement;
  return {
    ...rest,
    state: 'active',
    epoch: move.nextEpoch,
    epochSeq: must(move.openSeq, 'sequence the new epoch begins behind'),
    ...(move.openMark === undefined ? {} : { epochMark: move.openMark }),
    primary: move.to,
    replicas,
    lastMove: ended(move, now, { outcome: 'done', holdMs: outcome.holdMs }),
    updatedAt: now,
  };
}

/** From here on nobody may open the target; the old primary is opened again and the move ends with {@link abortMove}. */
export function beginAbort(placement: Placement, error: string, now = new Date()): Placement {
  const move = must(placement.move, 'move of a moving placement');
  assert(
    move.kind === 'switchover' && move.step !== 'open' && move.step !== 'abort',
    'only a planned move before it opens can be called off',
    {
      step: move.step,
    },
  );
  return { ...placement, move: { ...move, step: 'abort', error }, updatedAt: now.toISOString() };
}

/** Nothing was opened elsewhere: the tenant goes on where it was, under the same epoch. */
export function abortMove(placement: Placement, now = new Date()): Placement {
  const move = must(placement.move, 'move of a moving placement');
  assert(move.step === 'abort', 'a move is called off before it ends so', { step: move.step });
  const at = now.toISOString();
  const { move: _, ...rest } = placement;
  const lastMove = ended(move, at, { outcome: 'aborted', error: move.error ?? 'called off' });
  return { ...rest, state: 'active', lastMove, updatedAt: at };
}

function ended(
  move: Move,
  endedAt: string,
  rest: { outcome: 'done'; holdMs: number } | { outcome: 'aborted'; error: string },
): NonNullable<Placement['lastMove']> {
  return { id: move.id, kind: move.kind, from: move.from, to: move.to, endedAt, ...rest };
}
