/**
 * Who is knocking: tenant and login name from the user name (`acme.app`) or from the database name. Pure.
 */
import type { Tenant } from '@drover/catalog';

export interface Identity {
  readonly tenant: Tenant;
  readonly verifier: string;
  /** The login name gave the tenant, so the database name is free to name the database. */
  readonly prefixed: boolean;
}

export type Found =
  | { readonly kind: 'found'; readonly identity: Identity }
  | { readonly kind: 'unknown' }
  /** User name and database name point at different tenants, and both would do. */
  | { readonly kind: 'conflict' };

/** @param find the registry. Tenant names may contain dots: the last one splits. */
export function identify(
  user: string,
  database: string,
  find: (tenant: string) => Tenant | undefined,
): Found {
  const dot = user.lastIndexOf('.');
  const byUser = dot > 0 ? candidate(find, user.slice(0, dot), user.slice(dot + 1), true) : null;
  const byDatabase = database === user ? null : candidate(find, database, user, false);
  if (byUser !== null && byDatabase !== null && byUser.tenant.tenant !== byDatabase.tenant.tenant)
    return { kind: 'conflict' };
  const identity = byUser ?? byDatabase;
  return identity === null ? { kind: 'unknown' } : { kind: 'found', identity };
}

function candidate(
  find: (tenant: string) => Tenant | undefined,
  name: string,
  user: string,
  prefixed: boolean,
): Identity | null {
  const tenant = find(name);
  const verifier =
    tenant !== undefined && Object.hasOwn(tenant.users, user) ? tenant.users[user]?.verifier : undefined;
  return tenant === undefined || verifier === undefined ? null : { tenant, verifier, prefixed };
}
