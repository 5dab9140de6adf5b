/** A typed client towards the control plane of the configuration, closed when the work is done. */
import type { Config } from '@drover/config';
import {
  createClient,
  type FailoverService,
  type MigrationService,
  type ReplicationService,
  type ServiceClient,
  type Tenant,
} from '@drover/rpc';

type Service = typeof FailoverService | typeof MigrationService | typeof ReplicationService;

export async function withClient<S extends Service, T>(
  config: Config,
  service: S,
  work: (client: ServiceClient<S>) => Promise<T>,
): Promise<T> {
  const host = config.control.host === '0.0.0.0' ? '127.0.0.1' : config.control.host;
  const client = createClient(service, `${host}:${config.control.port}`, tokenOf(config));
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

/** The token that the control plane asks for, when one is configured. */
export function tokenOf(config: Config): { token?: string } {
  return config.control.token === undefined ? {} : { token: config.control.token };
}

const DEADLINE_MS = 15_000;

/** Page by page. */
export async function allTenants(client: ServiceClient<typeof MigrationService>): Promise<Tenant[]> {
  const tenants: Tenant[] = [];
  let pageToken = '';
  do {
    const page = await client.listTenants({ pageToken }, { deadlineMs: DEADLINE_MS });
    tenants.push(...page.tenants);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return tenants;
}
