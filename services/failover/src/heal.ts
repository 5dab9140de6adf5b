/**
 * A leader that was stopped at the wrong moment may close a tenant for a move that has ended. Nobody else would open it again: the
 * placement says that it is served. Taken back here, for exactly the close that the row names.
 */
import { type ClusterId, describeError, isCancelled, sleep, type TenantId } from '@drover/core';
import type { MoveContext } from './moves/move.ts';
import { type ClosedTenant, closedTenants, reopenTenant } from './moves/steps.ts';

export interface HealOptions {
  readonly context: MoveContext;
  readonly clusters: readonly ClusterId[];
  readonly databases: (cluster: ClusterId) => readonly string[];
  readonly isUp: (cluster: ClusterId) => boolean;
}

const HEAL_EVERY_MS = 3000;

/** Looks again and again until the signal aborts; a cluster that does not answer delays nobody but the others' healing. */
export async function healClosed(options: HealOptions): Promise<void> {
  const { context, clusters, databases, isUp } = options;
  do {
    for (const cluster of clusters) {
      for (const database of isUp(cluster) ? databases(cluster) : []) {
        await healOn(context, cluster, database).catch((error: unknown) => {
          if (isCancelled(error)) return;
          context.log.debug('closed tenants not looked at', { cluster, error: describeError(error) });
        });
      }
    }
  } while (await sleep(HEAL_EVERY_MS, context.signal));
}

/** Looks at one database once. */
export async function healOn(context: MoveContext, cluster: ClusterId, database: string): Promise<void> {
  const pool = context.clusters.pool(cluster, database);
  for (const closed of await closedTenants(pool)) {
    if (context.signal.aborted) return;
    if (!(await isOver(context, cluster, closed))) continue;
    const { tenant, epoch, by } = closed;
    if (await reopenTenant(pool, tenant as TenantId, { epoch, by })) {
      context.log.warn('a stale close was taken back', { tenant, cluster, move: by });
    }
  }
}

/** Asked of the catalog itself, after the row was read: a move that is over does not begin again. */
async function isOver(context: MoveContext, cluster: ClusterId, closed: ClosedTenant): Promise<boolean> {
  const placement = (await context.catalog.getPlacement(closed.tenant as TenantId))?.value;
  return placement?.state === 'active' && placement.primary === cluster && placement.epoch === closed.epoch;
}
