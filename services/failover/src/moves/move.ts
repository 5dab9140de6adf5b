/** What all moves share: who they work with, and how a step is put on record. */
import type { Catalog, Move, Placement } from '@drover/catalog';
import { type ClusterId, cancelled, DroverError, type TenantId } from '@drover/core';
import type { Tagging } from '@drover/pg';
import type { Logger } from '@drover/telemetry';
import type { LiveProxies } from './quiesce.ts';
import type { StepContext } from './steps.ts';

export interface MoveContext extends StepContext {
  readonly catalog: Catalog;
  readonly live: LiveProxies;
  readonly tagging: Tagging;
  readonly drainTimeoutMs: number;
  readonly log: Logger;
  /** Whether the tenant's rows at the cluster are, as a replica, other than those of its primary ([[transform]]). Absent: nowhere. */
  readonly transformed?: (placement: Placement, cluster: ClusterId) => boolean;
  /** Called between steps; tests stop the leader here. */
  readonly failpoint?: (step: string) => Promise<void>;
}

/**
 * Compare-and-set of the placement, only while it stands in exactly this step of this move: whoever comes second, a stale leader for one, has
 * no effect and calls nothing off.
 * @throws DroverError `placement.conflict`
 */
export function change(
  context: MoveContext,
  tenant: TenantId,
  at: Move,
  fn: (placement: Placement) => Placement,
): Promise<Placement> {
  return context.catalog.changePlacement(tenant, (p) => {
    requireStill(context, p, at);
    return fn(p);
  });
}

/** Reads the placement as its leader knows it. @throws DroverError `placement.conflict` when it is not in this step of this move any more */
export async function stillAt(
  context: MoveContext,
  tenant: TenantId,
  at: Move,
): Promise<{ revision: number }> {
  const found = await context.catalog.getPlacement(tenant);
  requireStill(context, found?.value, at);
  return { revision: found?.revision ?? 0 };
}

function requireStill(context: MoveContext, placement: Placement | undefined, at: Move): void {
  if (context.signal.aborted) throw cancelled();
  const now = placement?.move;
  if (now?.id === at.id && now.kind === at.kind && now.step === at.step) return;
  throw new DroverError(
    'placement.conflict',
    `the move ${at.id} is not at step ${at.step} any more: another controller went on with it`,
  );
}

export function isConflict(error: unknown): boolean {
  return error instanceof DroverError && error.code === 'placement.conflict';
}

export async function reached(context: MoveContext, failpoint: string): Promise<void> {
  await context.failpoint?.(failpoint);
  if (context.signal.aborted) throw cancelled();
}
