/** MigrationService: tenants and their replicas. */
import type { Tenant } from '@drover/catalog';
import { DroverError, tenantFromToken } from '@drover/core';
import {
  firstMessage,
  type Handlers,
  type ListTenantsRequest,
  type ListTenantsResponseSchema,
  type MigrationService,
  type Sent,
  TenantSchema,
} from '@drover/rpc';
import { type ControlContext, limitOf, placementOf, tenantOf } from '../context.ts';
import { tenantMessage } from '../messages.ts';
import { addReplica } from './add-replica.ts';
import { createTenant } from './create-tenant.ts';

/** Bound of one pass over the registry. */
const PASS_MS = 10_000;
/** Tenants in one answer. */
const PAGE_TENANTS = 1000;

export function migrationHandlers(context: ControlContext): Handlers<typeof MigrationService> {
  return {
    createTenant: (request) => createTenant(context, request),
    addReplica: (request, { signal }) => addReplica(context, request, signal),
    listTenants: (request, { signal }) => listTenants(context, request, signal),
    getTenant: async (request) => {
      const tenant = tenantOf(request.tenant);
      const placement = await placementOf(context, tenant);
      return { tenant: tenantMessage(placement, await context.catalog.getTenant(tenant)) };
    },
  };
}

async function listTenants(
  context: ControlContext,
  { pageSize, pageToken }: ListTenantsRequest,
  signal: AbortSignal,
): Promise<Sent<typeof ListTenantsResponseSchema>> {
  const after = afterToken(pageToken);
  const entries = await allEntries(context, signal);
  const rest = [...context.view.all()]
    .filter(({ tenant }) => tenant > after)
    .sort((a, b) => (a.tenant < b.tenant ? -1 : 1));
  const page = rest
    .slice(0, limitOf(pageSize, PAGE_TENANTS, PAGE_TENANTS))
    .map((placement) => tenantMessage(placement, entries.get(placement.tenant) ?? null));
  const tenants = firstMessage(TenantSchema, page);
  const last = rest[tenants.length - 1];
  return {
    tenants,
    nextPageToken: last === undefined || tenants.length === rest.length ? '' : tokenOf(last.tenant),
  };
}

/** A page ends with a tenant; the next one begins behind its name, whatever was made or removed meanwhile. */
function tokenOf(tenant: string): string {
  return Buffer.from(tenant).toString('base64url');
}

/** @throws DroverError `rpc.invalid` */
function afterToken(token: string): string {
  const tenant = Buffer.from(token, 'base64url').toString();
  if (tokenOf(tenant) === token) return tenant;
  throw new DroverError('rpc.invalid', 'page_token: it is not one of a list of tenants', {
    hint: 'send next_page_token of the answer before, or nothing',
  });
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
