/**
 * FailoverTenant: a switch-over is asked for by writing it into the placement; the failover controller does it; this watches and
 * tells. So a request that was taken is carried out even when this process dies, and asking again with the same request id joins it.
 */
import { beginSwitchover, type Placement } from '@drover/catalog';
import { type ClusterId, DroverError, type TenantId } from '@drover/core';
import {
  type FailoverTenantRequest,
  type FailoverTenantResponseSchema,
  moveStep,
  type Sent,
} from '@drover/rpc';
import { isTransformed, rulesOf } from '@drover/transform';
import { type ControlContext, clusterOf, placementOf, requestIdOf, tenantOf } from '../context.ts';
import { tenantMessage } from '../messages.ts';
import { askFailover } from '../peers.ts';
import { placementChanges, QUIET } from '../placement-changes.ts';
import { newsOf } from './follow-move.ts';

/** When a move stands still for this long, it is asked whether anybody works on it. */
const QUIET_MS = 3000;

export async function* failoverTenant(
  context: ControlContext,
  request: FailoverTenantRequest,
  signal: AbortSignal,
): AsyncGenerator<Sent<typeof FailoverTenantResponseSchema>, void, undefined> {
  const id = requestIdOf(request.requestId);
  const tenant = tenantOf(request.tenant);
  const to = clusterOf(context, request.to, 'to').name;
  const before = await placementOf(context, tenant);
  if (newsOf(before, id).kind === 'absent') {
    requireUntransformed(context, before, to);
    // A move that nobody carries out would hold the tenant's statements for nothing.
    await requireController(context);
  }
  const reason = request.reason === '' ? 'asked for' : request.reason;
  const begun = await context.catalog.changePlacement(tenant, (p) =>
    newsOf(p, id).kind === 'absent' ? beginSwitchover(p, { id, to, reason }) : null,
  );
  context.log.info('switch-over asked for', { tenant, from: begun.primary, to, request: id });
  let told = '';
  let seen = false;
  let latest = begun;
  const report = (placement: Placement): Sent<typeof FailoverTenantResponseSchema> | undefined => {
    latest = placement;
    const news = newsOf(placement, id);
    if (news.kind !== 'step' || news.step === told) return undefined;
    told = news.step;
    return { event: { case: 'step', value: moveStep.toProto(news.step) } };
  };
  const first = report(begun);
  if (first !== undefined) yield first;
  if (await ended(context, begun, id)) {
    yield await outcome(context, tenant, begun);
    return;
  }
  for await (const change of placementChanges(context.view, tenant, { quietMs: QUIET_MS, signal })) {
    if (change === QUIET) {
      await lookAround(context, tenant, id);
      continue;
    }
    const absent = newsOf(change, id).kind === 'absent';
    // The view may still be older than what was written above.
    if (absent && !seen) continue;
    if (absent) throw superseded(tenant, id);
    seen = true;
    const step = report(change);
    if (step !== undefined) yield step;
    if (await ended(context, change, id)) {
      yield await outcome(context, tenant, latest);
      return;
    }
  }
}

/** @throws DroverError `tenant.transformed` */
function requireUntransformed({ config }: ControlContext, { tenant, tier }: Placement, to: ClusterId): void {
  if (!isTransformed(rulesOf(config), { tenant, tier, target: to })) return;
  throw new DroverError(
    'tenant.transformed',
    `${to} holds the rows of ${tenant} under rules of [[transform]], not as they were written`,
    { hint: 'take another cluster, or remove the rule and copy the tenant anew', facts: { cluster: to } },
  );
}

/** True when the target serves the tenant. @throws DroverError `failover.drain_timeout` when the move was called off. */
async function ended(context: ControlContext, placement: Placement, id: string): Promise<boolean> {
  const news = newsOf(placement, id);
  if (news.kind !== 'aborted') return news.kind === 'done';
  context.log.info('switch-over called off', { tenant: placement.tenant, request: id, error: news.error });
  throw new DroverError(
    'failover.drain_timeout',
    `the switch-over of ${placement.tenant} was called off: ${news.error}`,
    {
      hint: `${placement.tenant} goes on at ${placement.primary}`,
    },
  );
}

async function outcome(
  context: ControlContext,
  tenant: TenantId,
  placement: Placement,
): Promise<Sent<typeof FailoverTenantResponseSchema>> {
  return {
    event: { case: 'outcome', value: tenantMessage(placement, await context.catalog.getTenant(tenant)) },
  };
}

/** Nothing has changed for a while. @throws DroverError `failover.not_leader` when nobody works on the move. */
async function lookAround(context: ControlContext, tenant: TenantId, id: string): Promise<void> {
  if (newsOf(await placementOf(context, tenant), id).kind === 'absent') throw superseded(tenant, id);
  try {
    await requireController(context);
  } catch (error) {
    throw new DroverError(
      'failover.not_leader',
      `the switch-over of ${tenant} is on record, but no failover controller works on it`,
      {
        hint: 'it goes on when one runs (`drover run failover`); asking again with the same request id joins it',
        cause: error,
      },
    );
  }
}

/** @throws DroverError `failover.not_leader` */
async function requireController(context: ControlContext): Promise<void> {
  try {
    await askFailover(context.bus);
  } catch (error) {
    throw new DroverError('failover.not_leader', 'no failover controller leads', {
      hint: 'is one running? `drover run failover`',
      cause: error,
    });
  }
}

function superseded(tenant: TenantId, id: string): DroverError {
  return new DroverError(
    'placement.conflict',
    `the move ${id} of ${tenant} is over, and another has ended since`,
    {
      hint: `\`drover tenant show ${tenant}\` says where it is`,
    },
  );
}
