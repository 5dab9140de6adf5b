/** What the handlers work with, and how the fields of requests become what the rest trusts. */
import type { Bus, LeaseView } from '@drover/bus';
import type { Catalog, Placement, PlacementView } from '@drover/catalog';
import type { ClusterConfig, Config } from '@drover/config';
import { type ClusterId, DroverError, type TenantId, tenantId } from '@drover/core';
import type { PgPool } from '@drover/pg';
import type { Logger } from '@drover/telemetry';

export interface ControlContext {
  readonly bus: Bus;
  readonly catalog: Catalog;
  readonly view: PlacementView;
  readonly leases: LeaseView;
  readonly config: Config;
  readonly log: Logger;
  /** Of role drover_admin. */
  pool(cluster: ClusterId, database: string): PgPool;
}

const REQUEST_ID_LENGTH_MAX = 200;

/** @throws DroverError `rpc.invalid`: without it a repeated request would be done twice. */
export function requestIdOf(text: string): string {
  if (text.length > 0 && text.length <= REQUEST_ID_LENGTH_MAX) return text;
  throw new DroverError('rpc.invalid', text === '' ? 'request_id is missing' : 'request_id is too long', {
    hint: 'send a UUID of your own, and the same one when you repeat the request',
  });
}

/** @throws DroverError `rpc.invalid`, `config.invalid_name` */
export function tenantOf(text: string): TenantId {
  if (text === '') throw new DroverError('rpc.invalid', 'tenant is missing');
  return tenantId(text);
}

/** A configured cluster. @throws DroverError `rpc.invalid` naming the field */
export function clusterOf(context: ControlContext, text: string, field: string): ClusterConfig {
  const found = context.config.clusters.find((cluster) => cluster.name === text);
  if (found !== undefined) return found;
  const known = context.config.clusters.map((cluster) => cluster.name).join(', ');
  throw new DroverError(
    'rpc.invalid',
    text === '' ? `${field} is missing` : `${field}: there is no cluster ${text}`,
    {
      hint: `one of ${known}`,
    },
  );
}

/** @throws DroverError `tenant.unknown` */
export async function placementOf(context: ControlContext, tenant: TenantId): Promise<Placement> {
  const found = await context.catalog.getPlacement(tenant);
  if (found !== null) return found.value;
  throw new DroverError('tenant.unknown', `there is no tenant ${tenant}`, {
    hint: '`drover tenant list` shows the known ones',
  });
}

/** Requests for 0 mean `fallback`; never more than `max`. */
export function limitOf(asked: number, fallback: number, max: number): number {
  return Math.min(asked === 0 ? fallback : asked, max);
}
