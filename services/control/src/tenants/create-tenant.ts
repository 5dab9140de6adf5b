/**
 * CreateTenant. The catalog is written first and decides (I4): of two requests for one name only one gets to open anything. What
 * follows is safe to repeat, so a request that was interrupted is finished by sending it again with its id (I10).
 *
 * A replica of a tenant without rows needs no copy: it follows the stream from before the first write. Its row is there before the
 * primary opens, and whether there are rows is asked once more in the transaction that opens it.
 */
import { streamName } from '@drover/bus';
import type { Placement, ReplicaState, Tenant } from '@drover/catalog';
import { derivePassword } from '@drover/config';
import {
  type ClusterId,
  DroverError,
  describeError,
  type Epoch,
  epoch,
  isCancelled,
  partitionOf,
  type TenantId,
} from '@drover/core';
import { followTenant, openTenant, readTenantRow, scramVerifier, verifierMatches } from '@drover/pg';
import type { CreateTenantRequest, CreateTenantResponseSchema, Sent } from '@drover/rpc';
import { type ControlContext, requestIdOf, tenantOf } from '../context.ts';
import { tenantMessage } from '../messages.ts';
import { nudgeApply } from '../peers.ts';
import { hasRows } from './has-rows.ts';
import { planTenant, type TenantPlan } from './plan-tenant.ts';

export async function createTenant(
  context: ControlContext,
  request: CreateTenantRequest,
): Promise<Sent<typeof CreateTenantResponseSchema>> {
  const requestId = requestIdOf(request.requestId);
  const plan = planTenant(context.config, tenantOf(request.tenant), request);
  // Made from the request's id: whoever repeats the request gets the same.
  const made = derivePassword(context.config.security.secret, `tenant:${plan.tenant}:${requestId}`);
  const password = request.password === '' ? made : request.password;
  const { entry, placement } =
    (await registered(context, plan.tenant, requestId)) ??
    (await register(context, plan, { requestId, password, hasData: request.hasData }));
  const after = await open(context, placement);
  const isMade = Object.values(entry.users).some((user) => verifierMatches(user.verifier, made));
  context.log.info('tenant created', {
    tenant: plan.tenant,
    primary: after.primary,
    replicas: Object.keys(after.replicas),
  });
  return { tenant: tenantMessage(after, entry), password: isMade ? made : '' };
}

interface Registered {
  readonly entry: Tenant;
  readonly placement: Placement;
}

/** What an earlier attempt of this very request has left. @throws DroverError `tenant.exists` when another made the tenant. */
async function registered(
  context: ControlContext,
  tenant: TenantId,
  requestId: string,
): Promise<Registered | null> {
  const [entry, placement] = await Promise.all([
    context.catalog.getTenant(tenant),
    context.catalog.getPlacement(tenant),
  ]);
  if (entry === null || placement === null) return null;
  if (entry.requestId === requestId) return { entry, placement: placement.value };
  throw new DroverError('tenant.exists', `a tenant named ${tenant} exists already`, {
    hint: `\`drover tenant show ${tenant}\``,
  });
}

async function register(
  context: ControlContext,
  plan: TenantPlan,
  request: { requestId: string; password: string; hasData: boolean },
): Promise<Registered> {
  const { tenant, primary, replicas, database, tier } = plan;
  const now = new Date().toISOString();
  const before = await lookAtClusters(context, plan);
  const epochSeq = await endOfStream(context, primary, tenant);
  const stateOf = (cluster: ClusterId): ReplicaState =>
    request.hasData || before.hasRows || !before.empty.has(cluster) ? 'copying' : 'live';
  const entry: Tenant = {
    tenant,
    isolation: context.config.tagging.mode,
    tier,
    users: plan.user === null ? {} : { [plan.user]: { verifier: scramVerifier(request.password) } },
    state: 'active',
    createdAt: now,
    requestId: request.requestId,
  };
  const placement: Placement = {
    tenant,
    epoch: before.nextEpoch,
    epochSeq,
    primary,
    database,
    tier,
    replicas: Object.fromEntries(
      replicas.map((cluster) => [cluster, { state: stateOf(cluster), since: now }]),
    ),
    state: 'active',
    updatedAt: now,
  };
  await context.catalog.createTenant(entry, placement);
  return { entry, placement };
}

interface Clusters {
  /** Above every epoch the tenant ever had on these clusters: nothing of a former life can be taken for the new one. */
  readonly nextEpoch: Epoch;
  /** At the primary. */
  readonly hasRows: boolean;
  /** Replicas that hold no row of the tenant; one that does not answer is not among them. */
  readonly empty: ReadonlySet<ClusterId>;
}

/** @throws DroverError `pg.*` when the primary does not answer */
async function lookAtClusters(context: ControlContext, plan: TenantPlan): Promise<Clusters> {
  const { tenant, database } = plan;
  const { tagging } = context.config;
  const look = async (cluster: ClusterId) => {
    const pool = context.pool(cluster, database);
    const [row, rows] = await Promise.all([
      readTenantRow(pool, tenant),
      hasRows(pool, tagging, database, tenant),
    ]);
    return { epoch: row?.epoch ?? 0, rows };
  };
  const primary = await look(plan.primary);
  let newest = primary.epoch;
  const empty = new Set<ClusterId>();
  await Promise.all(
    plan.replicas.map(async (cluster) => {
      try {
        const found = await look(cluster);
        newest = Math.max(newest, found.epoch);
        if (!found.rows) empty.add(cluster);
      } catch (error) {
        if (isCancelled(error)) throw error;
        context.log.warn('a replica cannot be looked at; it will be copied', {
          tenant,
          cluster,
          error: describeError(error),
        });
      }
    }),
  );
  return { nextEpoch: epoch(newest + 1), hasRows: primary.rows, empty };
}

/** Makes the clusters what the placement says. Only while the tenant is where it was born: later, others have it in hand. */
async function open(context: ControlContext, placement: Placement): Promise<Placement> {
  const { tenant, primary, database } = placement;
  const pool = context.pool(primary, database);
  const row = await readTenantRow(pool, tenant);
  if (placement.state === 'moving' || (row !== null && row.epoch >= placement.epoch)) return placement;
  const { failed, prepared } = await prepareReplicas(context, placement);
  let after = failed.size === 0 ? placement : await mustBeCopied(context, placement, failed);
  if (!(await openUnlessRows(context, placement, prepared.size > 0))) {
    after = await mustBeCopied(context, after, prepared);
    await openTenant(pool, { tenant, epoch: placement.epoch });
  }
  await Promise.all([...prepared].map((cluster) => nudgeApply(context.bus, cluster, tenant)));
  return after;
}

/** Live replicas follow the first epoch from its beginning. */
async function prepareReplicas(
  context: ControlContext,
  placement: Placement,
): Promise<{ failed: ReadonlySet<ClusterId>; prepared: ReadonlySet<ClusterId> }> {
  const { tenant, primary, database, epoch: first, epochSeq, replicas } = placement;
  const failed = new Set<ClusterId>();
  const prepared = new Set<ClusterId>();
  const stream = streamName(primary, partitionOf(tenant, context.config.nats.partitions));
  await Promise.all(
    Object.entries(replicas).map(async ([name, { state }]) => {
      if (state !== 'live') return;
      const cluster = name as ClusterId; // the keys of a placement's replicas are clusters
      try {
        const follow = {
          tenant,
          epoch: first,
          source: primary,
          feed: 'catchup',
          stream,
          streamSeq: epochSeq,
        } as const;
        await followTenant(context.pool(cluster, database), follow);
        prepared.add(cluster);
      } catch (error) {
        if (isCancelled(error)) throw error;
        context.log.warn('a replica could not be prepared; it will be copied', {
          tenant,
          cluster,
          error: describeError(error),
        });
        failed.add(cluster);
      }
    }),
  );
  return { failed, prepared };
}

/**
 * Opens the tenant; false, and nothing done, when `check` is set and it has rows. Rows that an application wrote past the proxy before the
 * epoch's message in the WAL are seen here; those after it reach the replicas that follow.
 */
function openUnlessRows(context: ControlContext, placement: Placement, check: boolean): Promise<boolean> {
  const { tenant, primary, database, epoch: first } = placement;
  const found = new Error('rows');
  return context
    .pool(primary, database)
    .transaction(async (client) => {
      await openTenant(client, { tenant, epoch: first });
      if (check && (await hasRows(client, context.config.tagging, database, tenant))) throw found;
      return true;
    })
    .catch((error: unknown) => {
      if (error === found) return false;
      throw error;
    });
}

function mustBeCopied(
  context: ControlContext,
  placement: Placement,
  clusters: ReadonlySet<ClusterId>,
): Promise<Placement> {
  return context.catalog.changePlacement(placement.tenant, (p) => {
    if (p.epoch !== placement.epoch || p.state !== 'active') return null;
    const since = new Date().toISOString();
    const replicas = { ...p.replicas };
    for (const cluster of clusters)
      if (replicas[cluster] !== undefined) replicas[cluster] = { state: 'copying', since };
    return { ...p, replicas, updatedAt: since };
  });
}

/** Last sequence of the tenant's partition: what is published under the first epoch stands behind it. */
async function endOfStream(context: ControlContext, cluster: ClusterId, tenant: TenantId): Promise<number> {
  const name = streamName(cluster, partitionOf(tenant, context.config.nats.partitions));
  try {
    return (await context.bus.jsm.streams.info(name)).state.last_seq;
  } catch (error) {
    throw new DroverError('bus.unreachable', `the stream ${name} cannot be read`, {
      hint: `has the reader of ${cluster} run? \`drover run cdc --cluster ${cluster}\` makes it`,
      cause: error,
    });
  }
}
