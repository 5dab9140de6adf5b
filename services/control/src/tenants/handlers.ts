/** MigrationService: tenants and their replicas. */
import type { Tenant } from '@drover/catalog';
import { DroverError, tenantFromToken } from '@drover/core';
import type { Handlers, MigrationService } from '@drover/rpc';
import { type ControlContext, placementOf, tenantOf } from '../context.ts';
import { tenantMessage } from '../messages.ts';
import { addReplica } from './add-replica.ts';
import { createTenant } from './create-tenant.ts';

/** Bound of one pass over the registry. */
const PASS_MS = 10_000;

export function migrationHandlers(context: ControlContext): Handlers<typeof MigrationService> {
  return {
    createTenant: (request) => createTenant(context, request),
    addReplica: (request, { signal }) => addReplica(context, request, signal),
    listTenants: async (_request, { signal }) => {
      const entries = await allEntries(context, signal);
      const placements = [...context.view.all()].sort((a, b) => (a.tenant < b.tenant ? -1 : 1));
      return {
        tenants: placements.map((placement) =>
          tenantMessage(placement, entries.get(placement.tenant) ?? null),
        ),
      };
    },
    getTenant: async (request) => {
      const tenant = tenantOf(request.tenant);
      const placement = await placementOf(context, tenant);
      return { tenant: tenantMessage(placement, await context.catalog.getTenant(tenant)) };
    },
  };
}

/** One pass over the bucket, not one question for each tenant. */
async function allEntries(
  context: ControlContext,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Tenant>> {
  const entries = new Map<string, Tenant>();
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(PASS_MS)]);
  for await (const change of context.catalog.tenants.watch(bounded)) {
    if (change.synced) return entries;
    if (change.value !== null) entries.set(tenantFromToken(change.key), change.value);
  }
  throw new DroverError('bus.unreachable', `the tenants could not be read within ${PASS_MS} ms`);
}
