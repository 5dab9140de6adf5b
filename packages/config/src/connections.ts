/** Connection options towards a cluster, for each role. */
import { derivePassword } from './derive.ts';
import type { ClusterConfig } from './types.ts';

export type DroverRole = 'drover_cdc' | 'drover_apply' | 'drover_tenant' | 'drover_admin';

export interface ConnectionOptions {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  readonly ssl: false | { readonly rejectUnauthorized: boolean };
}

/** Of one of Drover's roles ({@link DroverRole}), or of a tenant's own (`drover_t_…`). `database` defaults to the cluster's first. */
export function roleConnection(
  cluster: ClusterConfig,
  role: string,
  secret: string,
  database?: string,
): ConnectionOptions {
  return connection(cluster, role, derivePassword(secret, role), database);
}

/** The user that `doctor` and `setup` connect as. */
export function setupConnection(cluster: ClusterConfig, database?: string): ConnectionOptions {
  return connection(cluster, cluster.setupUser, cluster.setupPassword, database);
}

function connection(
  cluster: ClusterConfig,
  user: string,
  password: string,
  database: string | undefined,
): ConnectionOptions {
  const local = cluster.host === '127.0.0.1' || cluster.host === 'localhost' || cluster.host === '::1';
  const plain = cluster.sslmode === 'disable' || (cluster.sslmode === 'prefer' && local);
  return {
    host: cluster.host,
    port: cluster.port,
    user,
    password,
    database: database ?? cluster.databases[0] ?? 'postgres',
    ssl: plain ? false : { rejectUnauthorized: cluster.sslmode === 'verify-full' },
  };
}
