/** The four roles Drover logs in as. Names are a contract with operators; they are written out in SQL, too. */
export const ROLES = {
  /** Owns schema `drover`; failover, migration, control. */
  admin: 'drover_admin',
  /** Reads WAL. */
  cdc: 'drover_cdc',
  /** Writes replicas. */
  apply: 'drover_apply',
  /** What tenants' statements run as. */
  tenant: 'drover_tenant',
} as const;

export type DroverRole = (typeof ROLES)[keyof typeof ROLES];

export const ROLE_NAMES: readonly DroverRole[] = Object.values(ROLES);
