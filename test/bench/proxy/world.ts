/** One cluster with pgbench's tables, each branch a tenant (its `bid`), and both poolers in front of it. */
import { join } from 'node:path';
import { connectBus } from '@drover/bus';
import { openCatalog } from '@drover/catalog';
import { type Config, derivePassword } from '@drover/config';
import { Closer, clusterId, epoch, must, tenantId } from '@drover/core';
import { openTenant, scramVerifier } from '@drover/pg';
import { testFolder } from '@drover/testkit';
import { writeConfig } from '../lib/config-file.ts';
import { type PgbenchRun, pgbench } from '../lib/pgbench.ts';
import { SUPER_PASSWORD, startBus, startServers } from '../lib/servers.ts';
import { runVerb, startService } from '../lib/service.ts';
import { ATTACH_FUNCTION, type PgBouncer, startPgBouncer } from './pgbouncer.ts';
import { TENANTS } from './workloads.ts';

const DATABASE = 'bench';
const PASSWORD = 'bench';
export const POOL_SIZE = 8;
const ALL = Array.from({ length: TENANTS }, (_, i) => tenantId(String(i + 1)));

/** A front door: where pgbench connects to, and whose CPU counts. */
export interface Door {
  readonly name: 'drover' | 'pgbouncer';
  readonly pid: number;
  /** Of one of the tenants 1 to `of`, while as many are at work. */
  connection(tenant: number, of: number): PgbenchRun['connection'];
}

export interface ProxyWorld {
  readonly drover: Door;
  readonly pgbouncer: Door;
  /** Of Drover's proxy. */
  readonly metricsUrl: string;
  readonly pgbouncerVersion: string;
  readonly prepares: boolean;
  readonly folder: string;
  close(): Promise<void>;
}

export async function startProxyWorld(input: {
  readonly profileTo: string | undefined;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}): Promise<ProxyWorld> {
  const closer = new Closer();
  try {
    const folder = testFolder('bench-proxy');
    input.say(`starting a cluster, NATS and both poolers in ${folder}`);
    const [east] = await startServers(closer, folder, ['east'], DATABASE);
    const server = must(east, 'cluster east');
    const nats = await startBus(closer, folder);
    const direct = { port: server.port, user: 'postgres', password: SUPER_PASSWORD, database: DATABASE };
    await pgbench({ args: ['-i', '-s', String(TENANTS), '-q'], connection: direct, signal: input.signal });
    const tables = ['accounts', 'branches', 'tellers', 'history'];
    const overrides = Object.fromEntries(tables.map((table) => [`public.pgbench_${table}`, 'bid']));
    const config = writeConfig({
      folder,
      nats,
      clusters: [server],
      sections: { tagging: { overrides }, proxy: { port: 0, pool_size: POOL_SIZE } },
    });
    const place = {
      folder,
      configFile: config.file ?? join(folder, 'drover.toml'),
      profileTo: input.profileTo,
    };
    await runVerb(place, 'setup');
    const client = await server.connect();
    for (const tenant of ALL) await openTenant(client, { tenant, epoch: 1 });
    await client.query(ATTACH_FUNCTION);
    await client.query('CHECKPOINT');
    await register(config);
    const proxy = closer.add(await startService(place, 'proxy'));
    const pgbouncer: PgBouncer = closer.add(
      await startPgBouncer({
        folder,
        poolSize: POOL_SIZE,
        tenants: TENANTS,
        server: {
          port: server.port,
          database: DATABASE,
          user: 'drover_tenant',
          password: derivePassword(config.security.secret, 'drover_tenant'),
        },
        client: { user: 'app', password: PASSWORD },
      }),
    );
    return {
      folder,
      drover: {
        name: 'drover',
        pid: proxy.pid,
        connection: (tenant) => ({
          port: Number(proxy.info['port']),
          user: `${tenant}.app`,
          password: PASSWORD,
          database: DATABASE,
        }),
      },
      pgbouncer: {
        name: 'pgbouncer',
        pid: pgbouncer.pid,
        connection: (tenant, of) => ({
          port: pgbouncer.port,
          user: 'app',
          password: PASSWORD,
          database: pgbouncer.databaseOf(tenant, of),
        }),
      },
      metricsUrl: String(proxy.info['metricsUrl']),
      pgbouncerVersion: pgbouncer.version,
      prepares: pgbouncer.prepares,
      close: () => closer.close(),
    };
  } catch (error) {
    await closer.close();
    throw error;
  }
}

/** The tenants as `drover tenant create` leaves them. */
async function register(config: Config): Promise<void> {
  const bus = await connectBus({ url: config.nats.url, name: 'bench' });
  try {
    const catalog = await openCatalog(bus, { replicas: 1 });
    const now = new Date().toISOString();
    for (const tenant of ALL) {
      await catalog.createTenant(
        {
          tenant,
          isolation: 'column',
          tier: 'standard',
          users: { app: { verifier: scramVerifier(PASSWORD) } },
          state: 'active',
          createdAt: now,
        },
        {
          tenant,
          epoch: epoch(1),
          epochSeq: 0,
          primary: clusterId('east'),
          database: DATABASE,
          tier: 'standard',
          replicas: {},
          state: 'active',
          updatedAt: now,
        },
      );
    }
    await catalog.close();
  } finally {
    await bus.close();
  }
}
