/** The sample tenants of `drover up`: half of them served by each cluster, the other one standing by; reference data at the first. */
import { connectBus } from '@drover/bus';
import { type Catalog, openCatalog } from '@drover/catalog';
import type { Config } from '@drover/config';
import { DroverError, SHARED, type TenantId, tenantId } from '@drover/core';
import { createClient, MigrationService } from '@drover/rpc';
import { tokenOf } from '../commands/client.ts';
import { natsOf } from '../commands/nats.ts';

export interface SampleOptions {
  readonly count: number;
  readonly password: string;
  readonly signal: AbortSignal;
}

const AT_ONCE = 8;

/** Creates what is missing. Returns the tenants' names. */
export async function createSampleTenants(config: Config, options: SampleOptions): Promise<string[]> {
  const client = createClient(
    MigrationService,
    `${config.control.host}:${config.control.port}`,
    tokenOf(config),
  );
  const bus = await connectBus(natsOf(config, 'drover up'));
  try {
    const catalog = await openCatalog(bus, { replicas: config.nats.replicas });
    const width = Math.max(2, String(options.count).length);
    const names = Array.from({ length: options.count }, (_, i) => `t${String(i + 1).padStart(width, '0')}`);
    const clusters = config.clusters.map((c) => c.name);
    const wanted = [
      { tenant: SHARED, primary: clusters[0] ?? '' },
      ...names.map((name, i) => ({ tenant: tenantId(name), primary: clusters[i % clusters.length] ?? '' })),
    ];
    const missing: typeof wanted = [];
    for (const tenant of wanted) if (!(await exists(catalog, tenant.tenant))) missing.push(tenant);
    const worker = async () => {
      for (
        let next = missing.shift();
        next !== undefined && !options.signal.aborted;
        next = missing.shift()
      ) {
        try {
          await client.createTenant({
            requestId: `up-${next.tenant}`,
            tenant: next.tenant,
            primary: next.primary,
            password: options.password,
          });
        } catch (error) {
          if (!(error instanceof DroverError && error.code === 'tenant.exists')) throw error;
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    await catalog.close();
    return names;
  } finally {
    client.close();
    await bus.close();
  }
}

async function exists(catalog: Catalog, tenant: TenantId): Promise<boolean> {
  return (await catalog.getPlacement(tenant)) !== null;
}
