/** MigrationService: tenants and their replicas. */
import { randomBytes } from 'node:crypto';
import { onEvent } from '@drover/bus';
import type { Placement, Tenant } from '@drover/catalog';
import { type ClusterId, DroverError, epoch, partitionOf, type TenantId } from '@drover/core';
import { followTenant, openTenant, readTenantRow, scramVerifier } from '@drover/pg';
import { streamName } from '@drover/bus';
import type { Handlers, MigrationService } from '@drover/rpc';
import { clusterOf, type ControlContext, placementOf, tenantOf } from './context.ts';
import { isolationOf, tenantMessage } from './messages.ts';

const FIRST_EPOCH = epoch(1);
const LOOK_EVERY_MS = 500;

export function migrationHandlers(context: ControlContext): Handlers<typeof MigrationService> {
  return {
    createTenant: async (request) => {
      const tenant = tenantOf(request.tenant);
      const primary = clusterOf(context, request.primary, 'primary');
      const tier = request.tier === '' ? 'standard' : request.tier;
      const quality = context.config.tiers[tier];
      if (quality === undefined) {
        throw new DroverError('rpc.invalid', `tier: there is no tier ${tier}`, { hint: `one of ${Object.keys(context.config.tiers).join(', ')}` });
      }
      const isolation = isolationOf(request.isolation);
      const others = context.config.clusters.map((c) => c.name).filter((name) => name !== primary);
      const replicas =
        request.replicas.length === 0
          ? others.slice(0, quality.replicas)
          : request.replicas.map((name) => clusterOf(context, name, 'replicas'));
      if (replicas.includes(primary)) throw new DroverError('rpc.invalid', 'replicas: the primary cannot be its own replica');
      const password = request.password === '' ? randomBytes(18).toString('base64url') : request.password;
      const now = new Date().toISOString();
      const database = isolation === 'database' ? context.config.tagging.databasePrefix + tenant : defaultDatabase(context, primary);
      const entry: Tenant = {
        tenant,
        isolation,
        tier,
        users: { [request.user === '' ? 'app' : request.user]: { verifier: scramVerifier(password) } },
        state: 'active',
        createdAt: now,
      };
      const epochSeq = await endOfStream(context, primary, tenant);
      const state = request.hasData ? 'copying' : 'live';
      const placement: Placement = {
        tenant,
        epoch: FIRST_EPOCH,
        epochSeq,
        primary,
        database,
        tier,
        replicas: Object.fromEntries(replicas.map((name) => [name, { state, since: now }])),
        state: 'active',
        updatedAt: now,
      };
      const existing = await context.catalog.getPlacement(tenant);
      if (existing !== null) throw new DroverError('tenant.exists', `a tenant named ${tenant} exists already`);
      // Replicas first: they follow from before the first write, so an empty tenant needs no copy.
      if (!request.hasData) {
        for (const replica of replicas) {
          await followTenant(context.pool(replica, database), {
            tenant,
            epoch: FIRST_EPOCH,
            source: primary,
            feed: 'catchup',
            stream: streamName(primary, partitionOf(tenant, context.config.nats.partitions)),
            streamSeq: epochSeq,
          });
        }
      }
      const row = await readTenantRow(context.pool(primary, database), tenant);
      if (!(row?.role === 'primary' && row.open && row.epoch === FIRST_EPOCH)) {
        await openTenant(context.pool(primary, database), { tenant, epoch: FIRST_EPOCH });
      }
      await context.catalog.createTenant(entry, placement);
      return { tenant: tenantMessage(placement, isolation), password: request.password === '' ? password : '' };
    },

    listTenants: async () => ({
      tenants: [...context.view.all()].sort((a, b) => a.tenant.localeCompare(b.tenant)).map((p) => tenantMessage(p)),
    }),

    getTenant: async (request) => {
      const tenant = tenantOf(request.tenant);
      const entry = await context.catalog.getTenant(tenant);
      return { tenant: tenantMessage(await placementOf(context, tenant), entry?.isolation) };
    },

    addReplica: async function* (request, signal) {
      const tenant = tenantOf(request.tenant);
      const to = clusterOf(context, request.to, 'to');
      const progress: { table?: string; rows?: number; total?: number; phase?: string; error?: string } = {};
      const listening = onEvent(context.bus, 'copy.progress', (_kind, fields) => {
        if (fields['tenant'] === tenant && fields['to'] === to) Object.assign(progress, fields);
      });
      try {
        await context.catalog.changePlacement(tenant, (p) => {
          if (p.primary === to) throw new DroverError('rpc.invalid', `to: ${to} serves ${tenant}`);
          if (p.state === 'moving') throw new DroverError('tenant.busy', `${tenant} is being moved`);
          if (p.replicas[to]?.state === 'copying') return null;
          const since = new Date().toISOString();
          return { ...p, replicas: { ...p.replicas, [to]: { state: 'copying', since } }, updatedAt: since };
        });
        for (;;) {
          const live = await context.view.waitFor(tenant, (p) => p.replicas[to]?.state === 'live', { timeoutMs: LOOK_EVERY_MS, signal });
          if (live !== undefined) {
            yield { phase: 'live', done: true, tenant: tenantMessage(live) };
            return;
          }
          yield {
            phase: progress.error ?? progress.phase ?? 'waiting for the migration service',
            table: progress.table ?? '',
            rows: BigInt(progress.rows ?? 0),
            total: BigInt(progress.total ?? 0),
          };
        }
      } finally {
        await listening.close();
      }
    },
  };
}

function defaultDatabase(context: ControlContext, cluster: ClusterId): string {
  return context.config.clusters.find((c) => c.name === cluster)?.databases[0] ?? 'postgres';
}

async function endOfStream(context: ControlContext, cluster: ClusterId, tenant: TenantId): Promise<number> {
  const info = await context.bus.jsm.streams.info(streamName(cluster, partitionOf(tenant, context.config.nats.partitions)));
  return info.state.last_seq;
}
