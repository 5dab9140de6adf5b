/**
 * The elected controller: looks at the agenda, works on many tenants at once, one task per tenant. All progress is in the
 * placements; when the lease is lost the signal aborts and another controller goes on from there.
 */
import { publishEvent } from '@drover/bus';
import { beginFailover, convertToFailover, type Placement, type PlacementView } from '@drover/catalog';
import { type ClusterId, describeError, isCancelled, sleep, type TenantId } from '@drover/core';
import { agenda, type Task } from './agenda.ts';
import type { ClusterHealth } from './health/judge.ts';
import { type PromoteOptions, runPromotion } from './moves/promote.ts';
import { rejoinTenant } from './moves/rejoin.ts';
import { closedTenants, reopenTenant } from './moves/steps.ts';
import { type MoveContext, runSwitchover } from './moves/switchover.ts';

export interface LeaderOptions extends PromoteOptions {
  readonly context: MoveContext;
  readonly view: PlacementView;
  readonly health: ClusterHealth;
  readonly clusters: readonly ClusterId[];
  readonly databases: (cluster: ClusterId) => readonly string[];
  readonly auto: () => boolean;
  readonly parallel: number;
  readonly cooldownMs: number;
  readonly onMove: (kind: Task['kind'], outcome: 'done' | 'failed', seconds: number) => void;
}

const TICK_MS = 100;
const HEAL_EVERY_MS = 3000;
/** After a failed task its tenant rests this long before it is tried again. */
const REST_MS = 1000;

export async function lead(options: LeaderOptions): Promise<void> {
  const { context } = options;
  const { signal } = context;
  const busy = new Set<TenantId>();
  const running = new Set<Promise<void>>();
  await options.view.synced;
  let healAt = 0;
  while (!signal.aborted) {
    if (performance.now() >= healAt) {
      healAt = performance.now() + HEAL_EVERY_MS;
      await healClosed(options).catch((error: unknown) => {
        if (!isCancelled(error))
          context.log.debug('closed tenants not looked at', { error: describeError(error) });
      });
    }
    const tasks = agenda({
      placements: options.view.all(),
      verdict: (cluster) => options.health.judge(cluster, performance.now()),
      auto: options.auto(),
      busy,
      now: Date.now(),
      cooldownMs: options.cooldownMs,
    });
    for (const task of tasks) {
      if (running.size >= options.parallel) break;
      const { tenant } = task.placement;
      busy.add(tenant);
      const work = perform(options, task).finally(() => {
        running.delete(work);
        busy.delete(tenant);
      });
      running.add(work);
    }
    await sleep(TICK_MS, signal);
  }
  await Promise.all(running);
}

/**
 * A leader that was stopped at the wrong moment may close a tenant for a move that has ended. Nobody else would open it again: the
 * placement says that it is served. Taken back here, for exactly the close that the row names.
 */
async function healClosed(options: LeaderOptions): Promise<void> {
  const { clusters } = options.context;
  for (const cluster of options.clusters) {
    if (options.health.judge(cluster, performance.now()).state !== 'up') continue;
    for (const database of options.databases(cluster)) {
      const pool = clusters.pool(cluster, database);
      for (const { tenant, epoch, by } of await closedTenants(pool)) {
        const placement = options.view.get(tenant as TenantId);
        const over =
          placement?.state === 'active' && placement.primary === cluster && placement.epoch === epoch;
        if (over && (await reopenTenant(pool, placement.tenant, { epoch, by }))) {
          options.context.log.warn('a stale close was taken back', { tenant, cluster, move: by });
        }
      }
    }
  }
}

async function perform(options: LeaderOptions, task: Task): Promise<void> {
  const { context } = options;
  const { tenant } = task.placement;
  const started = performance.now();
  try {
    const after = await execute(options, task);
    options.onMove(task.kind, 'done', (performance.now() - started) / 1000);
    if (after?.lastMove !== undefined && after.move === undefined) {
      context.log.info('move ended', { tenant, ...after.lastMove });
      publishEvent(context.bus, 'failover.moved', { tenant, epoch: after.epoch, ...after.lastMove });
    }
  } catch (error) {
    if (isCancelled(error) || context.signal.aborted) return;
    options.onMove(task.kind, 'failed', (performance.now() - started) / 1000);
    context.log.warn('move not finished, will be tried again', {
      tenant,
      task: task.kind,
      error: describeError(error),
    });
    await sleep(REST_MS, context.signal);
  }
}

async function execute(options: LeaderOptions, task: Task): Promise<Placement | undefined> {
  const { context } = options;
  switch (task.kind) {
    case 'switchover':
      return runSwitchover(context, task.placement);
    case 'promote':
      return runPromotion(context, task.placement, options);
    case 'convert':
      await context.catalog.changePlacement(task.placement.tenant, (p) =>
        p.move?.id === task.placement.move?.id
          ? convertToFailover(p, 'the old primary died during the switch-over')
          : null,
      );
      return undefined;
    case 'fail': {
      const begun = await context.catalog.changePlacement(task.placement.tenant, (p) =>
        p.state === 'active' && p.primary === task.placement.primary && p.epoch === task.placement.epoch
          ? beginFailover(p, { id: crypto.randomUUID(), to: task.to, reason: task.reason })
          : null,
      );
      if (begun.move?.kind !== 'failover') return undefined;
      publishEvent(context.bus, 'failover.begun', {
        tenant: begun.tenant,
        from: begun.primary,
        to: task.to,
        reason: task.reason,
      });
      return runPromotion(context, begun, options);
    }
    case 'rejoin': {
      const outcome = await rejoinTenant(context, task.placement, task.cluster);
      publishEvent(context.bus, 'failover.rejoined', {
        tenant: task.placement.tenant,
        cluster: task.cluster,
        outcome,
      });
      return undefined;
    }
  }
}
