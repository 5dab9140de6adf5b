/** What a new tenant will be: the request and the configuration decide, nothing is looked up or done. Pure. */
import type { Config } from '@drover/config';
import { type ClusterId, DroverError, SHARED, type TenantId, UNASSIGNED } from '@drover/core';
import type { CreateTenantRequest } from '@drover/rpc';

export interface TenantPlan {
  readonly tenant: TenantId;
  readonly primary: ClusterId;
  readonly replicas: readonly ClusterId[];
  readonly tier: string;
  /** On every cluster. */
  readonly database: string;
  /** Login within the tenant; null: nobody logs in (reference data). */
  readonly user: string | null;
}

/** @throws DroverError `rpc.invalid` naming the field */
export function planTenant(config: Config, tenant: TenantId, request: CreateTenantRequest): TenantPlan {
  if (tenant === UNASSIGNED) throw invalid('tenant', `${tenant} is not a tenant`);
  const primary =
    request.primary === '' ? config.clusters[0] : config.clusters.find((c) => c.name === request.primary);
  if (primary === undefined)
    throw invalid('primary', `there is no cluster ${request.primary}`, clusterNames(config));
  const tier = request.tier === '' ? 'standard' : request.tier;
  const quality = Object.hasOwn(config.tiers, tier) ? config.tiers[tier] : undefined;
  if (quality === undefined) throw invalid('tier', `there is no tier ${tier}`, Object.keys(config.tiers));
  const replicas = replicasOf(config, primary.name, quality.replicas, request);
  const database = databaseOf(config, tenant, primary.databases, request.database);
  for (const name of [primary.name, ...replicas]) {
    const cluster = config.clusters.find((c) => c.name === name);
    if (cluster?.databases.includes(database) !== true) {
      throw invalid(
        'database',
        `${name} has no database ${database} that is captured`,
        cluster?.databases ?? [],
      );
    }
  }
  if (tenant === SHARED) return { tenant, primary: primary.name, replicas, tier, database, user: null };
  const user = request.user === '' ? 'app' : request.user;
  // The proxy takes what stands behind the last dot of a user name for the login.
  if (!/^[A-Za-z_][A-Za-z0-9_-]{0,62}$/.test(user))
    throw invalid('user', `"${user.slice(0, 70)}" is not a login`, ['app']);
  return { tenant, primary: primary.name, replicas, tier, database, user };
}

function replicasOf(
  config: Config,
  primary: ClusterId,
  wanted: number,
  request: CreateTenantRequest,
): ClusterId[] {
  if (request.noReplicas) {
    if (request.replicas.length > 0) throw invalid('replicas', 'named, and no_replicas is set');
    return [];
  }
  const others = config.clusters.map((c) => c.name).filter((name) => name !== primary);
  if (request.replicas.length === 0) return others.slice(0, wanted);
  const chosen = new Set<ClusterId>();
  for (const name of request.replicas) {
    if (name === primary) throw invalid('replicas', `${name} is the primary`, others);
    const found = others.find((other) => other === name);
    if (found === undefined) throw invalid('replicas', `there is no cluster ${name}`, others);
    chosen.add(found);
  }
  return [...chosen];
}

function databaseOf(config: Config, tenant: TenantId, captured: readonly string[], asked: string): string {
  const { mode, databasePrefix } = config.tagging;
  if (mode === 'database' && tenant !== SHARED) {
    const own = databasePrefix + tenant;
    if (asked !== '' && asked !== own) throw invalid('database', `the database of ${tenant} is ${own}`);
    return own;
  }
  return asked === '' ? (captured[0] ?? '') : asked;
}

function clusterNames(config: Config): string[] {
  return config.clusters.map((c) => c.name);
}

function invalid(field: string, wrong: string, known: readonly string[] = []): DroverError {
  return new DroverError(
    'rpc.invalid',
    `${field}: ${wrong}`,
    known.length === 0 ? {} : { hint: `for example ${known.join(', ')}` },
  );
}
