/** A tenant as the catalog knows it, for tests that register one without the control plane. */
import type { Placement, Tenant } from '@drover/catalog';
import { clusterId, epoch, tenantId } from '@drover/core';

export interface NewTenantOptions {
  /** How west stands by for it. Default: not at all. */
  readonly west?: Placement['replicas'][string]['state'];
  readonly tenant?: Partial<Tenant>;
  readonly placement?: Partial<Placement>;
}

/** Served by east under its first epoch, from database `app`; what `catalog.createTenant` takes. */
export function newTenant(name: string, options: NewTenantOptions = {}): [Tenant, Placement] {
  const tenant = tenantId(name);
  const since = new Date().toISOString();
  return [
    {
      tenant,
      isolation: 'column',
      tier: 'standard',
      users: {},
      state: 'active',
      createdAt: since,
      ...options.tenant,
    },
    {
      tenant,
      epoch: epoch(1),
      epochSeq: 0,
      primary: clusterId('east'),
      database: 'app',
      tier: 'standard',
      replicas: options.west === undefined ? {} : { west: { state: options.west, since } },
      state: 'active',
      updatedAt: since,
      ...options.placement,
    },
  ];
}
