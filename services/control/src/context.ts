import type { Bus } from '@drover/bus';
import type { Catalog, Placement, PlacementView } from '@drover/catalog';
import type { Config } from '@drover/config';
import { type ClusterId, clusterId, DroverError, type TenantId, tenantId } from '@drover/core';
import type { PgPool } from '@drover/pg';
import type { Logger } from '@drover/telemetry';

/** What the handlers work with. */
export interface ControlContext {
  readonly bus: Bus;
  readonly catalog: Catalog;
  readonly view: PlacementView;
  readonly config: Config;
  readonly log: Logger;
  pool(cluster: ClusterId, database: string): PgPool;
}

/** @throws DroverError `rpc.invalid` naming the field, `config.invalid_name` */
export function tenantOf(text: string): TenantId {
  if (text === '') throw new DroverError('rpc.invalid', 'tenant is missing');
  return tenantId(text);
}

/** A cluster of the configuration. @throws DroverError `rpc.invalid` */
export function clusterOf(context: ControlContext, text: string, field: string): ClusterId {
  const known = context.config.clusters.map((c) => c.name);
  if (text === '') throw new DroverError('rpc.invalid', `${field} is missing`, { hint: `one of ${known.join(', ')}` });
  const cluster = clusterId(text);
  if (!known.includes(cluster)) {
    throw new DroverError('rpc.invalid', `${field}: there is no cluster ${text}`, { hint: `one of ${known.join(', ')}` });
  }
  return cluster;
}

/** @throws DroverError `tenant.unknown` */
export async function placementOf(context: ControlContext, tenant: TenantId): Promise<Placement> {
  const found = await context.catalog.getPlacement(tenant);
  if (found === null) {
    throw new DroverError('tenant.unknown', `there is no tenant ${tenant}`, { hint: '`drover tenant list` shows the known ones' });
  }
  return found.value;
}
