/** The registry entry of a tenant: bucket `drover_tenants`, key = tenant token, JSON, compare-and-set. */
import type { TenantId } from '@drover/core';

export type Isolation = 'column' | 'schema' | 'database';

export interface TenantUser {
  /** PostgreSQL's stored form `SCRAM-SHA-256$<iter>:<salt>$<StoredKey>:<ServerKey>`; never a password. */
  readonly verifier: string;
}

export interface Tenant {
  readonly tenant: TenantId;
  readonly isolation: Isolation;
  readonly tier: string;
  /** Login name within the tenant (`app` in `acme.app`) to its verifier. */
  readonly users: Readonly<Record<string, TenantUser>>;
  readonly state: 'active' | 'suspended';
  readonly createdAt: string;
  /** Of the request that registered it. */
  readonly requestId?: string;
}
