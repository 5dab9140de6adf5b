/** One task of the agenda, carried out. What decides is asked again right before the first thing that cannot be taken back. */
import { publishEvent } from '@drover/bus';
import { beginFailover, convertToFailover, type Placement } from '@drover/catalog';
import type { Task } from './agenda.ts';
import type { LeaderOptions } from './leader.ts';
import { unable } from './moves/candidate.ts';
import { runPromotion } from './moves/promote.ts';
import { rejoinTenant } from './moves/rejoin.ts';
import { runSwitchover } from './moves/switchover.ts';

export type Result =
  | { readonly kind: 'moved'; readonly placement: Placement }
  | { readonly kind: 'done' }
  | { readonly kind: 'refused'; readonly code: string; readonly why: string };

const DONE = { kind: 'done' } as const;

/** @throws what stopped it, to be tried again */
export async function execute(options: LeaderOptions, task: Task): Promise<Result> {
  const { context } = options;
  const { tenant } = task.placement;
  switch (task.kind) {
    case 'switchover':
      return { kind: 'moved', placement: await runSwitchover(context, task.placement) };
    case 'promote':
      return { kind: 'moved', placement: await runPromotion(context, task.placement, options) };
    case 'convert':
      // Never promoted: called off like any planned move that does not get on.
      if (task.placement.move !== undefined && context.transformed?.(task.placement, task.placement.move.to))
        return { kind: 'moved', placement: await runSwitchover(context, task.placement) };
      await context.catalog.changePlacement(tenant, (p) =>
        p.move?.id === task.placement.move?.id && p.move?.kind === 'switchover' && p.move.step !== 'open'
          ? convertToFailover(p, 'the old primary died during the switch-over')
          : null,
      );
      return DONE;
    case 'fail':
      return fail(options, task);
    case 'rejoin': {
      const { cluster } = task;
      const outcome = await rejoinTenant(context, task.placement, cluster);
      if (outcome !== 'over') publishEvent(context.bus, 'failover.rejoined', { tenant, cluster, outcome });
      return DONE;
    }
  }
}

async function fail(options: LeaderOptions, task: Extract<Task, { kind: 'fail' }>): Promise<Result> {
  const { context } = options;
  const { tenant, primary, epoch } = task.placement;
  const refusals: { code: string; why: string }[] = [];
  for (const to of task.candidates) {
    const refusal = await unable(context, task.placement, to);
    if (refusal !== undefined) {
      refusals.push(refusal);
      continue;
    }
    // Meanwhile it may have come back, or somebody may have paused us.
    const dead = options.health.judge(primary, performance.now()).state === 'dead';
    if (!dead || options.autoOff() !== undefined || context.signal.aborted) return DONE;
    const id = crypto.randomUUID();
    const begun = await context.catalog.changePlacement(tenant, (p) =>
      p.state === 'active' && p.primary === primary && p.epoch === epoch && p.replicas[to]?.state === 'live'
        ? beginFailover(p, { id, to, reason: task.reason })
        : null,
    );
    if (begun.move?.id !== id) return DONE;
    publishEvent(context.bus, 'failover.begun', { tenant, from: primary, to, reason: task.reason });
    return { kind: 'moved', placement: await runPromotion(context, begun, options) };
  }
  return {
    kind: 'refused',
    code: refusals.map((r) => r.code).join(','),
    why: `${primary} is dead: ${refusals.map((r) => r.why).join('; ')}`,
  };
}
