/**
 * Two clusters of their own, a bus, and the services themselves in this process, each of which can be ended and started again; without the
 * control plane, whose part (writing what is asked for into the placement) the test takes.
 */
import { type Bus, connectBus } from '@drover/bus';
import { type Catalog, openCatalog, type Placement } from '@drover/catalog';
import {
  type Config,
  configFromParts,
  deriveContextKey,
  derivePassword,
  type RunOptions,
} from '@drover/config';
import { Closer, clusterId, epoch, type TenantId, tenantId, tenantToken, until } from '@drover/core';
import { freePort } from '@drover/local';
import {
  originName,
  ROLE_NAMES,
  type RolePasswords,
  scramVerifier,
  setupCluster,
  signContext,
} from '@drover/pg';
import {
  ownPostgres,
  type TestNats,
  type TestNatsOptions,
  type TestPostgres,
  testNats,
} from '@drover/testkit';
import pg from 'pg';
import { run as runApply } from '../../services/apply/src/main.ts';
import { run as runCdc } from '../../services/cdc/src/main.ts';
import { run as runFailover } from '../../services/failover/src/main.ts';
import { run as runMigration } from '../../services/migration/src/main.ts';
import { run as runProxy } from '../../services/proxy/src/main.ts';

export const EAST = clusterId('east');
export const WEST = clusterId('west');
const NAMES = ['east', 'west'] as const;
export type Name = (typeof NAMES)[number];
const SECRET = 'a secret of thirty-two characters or more';
const PASSWORD = 'secret-of-app';

const SERVICES = {
  cdc: runCdc,
  apply: runApply,
  failover: runFailover,
  migration: runMigration,
  proxy: runProxy,
} as const satisfies Record<string, (options: RunOptions) => Promise<void>>;
export type Service = 'failover' | 'migration' | 'proxy' | `cdc ${Name}` | `apply ${Name}`;

export class FailoverWorld {
  readonly bus: Bus;
  readonly catalog: Catalog;
  readonly config: Config;
  readonly servers: Readonly<Record<Name, TestPostgres>>;
  readonly nats: TestNats;
  readonly #closer: Closer;
  readonly #running = new Map<Service, { stop: AbortController; ended: Promise<void> }>();
  /** Where a service that runs serves its metrics and its health. */
  readonly urls = new Map<Service, string>();

  private constructor(
    closer: Closer,
    parts: {
      bus: Bus;
      catalog: Catalog;
      config: Config;
      servers: Record<Name, TestPostgres>;
      nats: TestNats;
    },
  ) {
    this.#closer = closer;
    this.bus = parts.bus;
    this.catalog = parts.catalog;
    this.config = parts.config;
    this.servers = parts.servers;
    this.nats = parts.nats;
  }

  /** `sql` makes the tables, in column mode: `tenant`. */
  static async start(
    sql: string,
    sections: Record<string, Record<string, unknown>>,
    settings: {
      readonly nats?: TestNatsOptions;
      readonly postgres?: Readonly<Record<string, string>>;
      /** `[[transform]]` */
      readonly transform?: readonly Readonly<Record<string, unknown>>[];
      /** Behind `sql`, at west alone. */
      readonly west?: string;
    } = {},
  ): Promise<FailoverWorld> {
    const closer = new Closer();
    const nats = await testNats(settings.nats);
    closer.add({ close: () => nats.stop() });
    // So that transactions of a few megabytes are large ones, which leave while they are in progress.
    const postgres = { logical_decoding_work_mem: '4MB', ...settings.postgres };
    const own = () => ownPostgres({ settings: postgres });
    const servers = { east: await own(), west: await own() };
    for (const name of NAMES) closer.add({ close: () => servers[name].stop() });
    const level = process.env['DROVER_TEST_LOG'] ?? 'error';
    const config = configFromParts({
      clusters: NAMES.map((name) => ({
        name,
        host: '127.0.0.1',
        port: servers[name].port,
        databases: ['app'],
      })),
      sections: {
        tagging: { column: 'tenant' },
        telemetry: { port: 0, log_level: level },
        ...sections,
        security: { secret: SECRET, ...sections['security'] },
        nats: { url: nats.url, partitions: 2, ...sections['nats'] },
        proxy: { port: await freePort(), tls: 'off', ...sections['proxy'] },
      },
      transform: settings.transform ?? [],
    });
    const tablesOf = (name: Name) => (name === 'west' ? `${sql};${settings.west ?? ''}` : sql);
    for (const name of NAMES) await setUp(servers[name], name, tablesOf(name), config);
    const bus = closer.add(await connectBus({ url: nats.url, name: 'test' }));
    const catalog = closer.add(await openCatalog(bus, { replicas: 1 }));
    return new FailoverWorld(closer, { bus, catalog, config, servers, nats });
  }

  async run(...services: Service[]): Promise<void> {
    for (const service of services) {
      const [name, cluster] = service.split(' ') as [keyof typeof SERVICES, Name?];
      const stop = new AbortController();
      const ready = Promise.withResolvers<void>();
      const ended = SERVICES[name]({
        config: this.config,
        signal: stop.signal,
        metricsPort: 0,
        onReady: (info) => {
          if (typeof info.metricsUrl === 'string') this.urls.set(service, info.metricsUrl);
          ready.resolve();
        },
        ...(cluster === undefined ? {} : { cluster: clusterId(cluster) }),
      });
      ended.catch(ready.reject);
      this.#running.set(service, { stop, ended });
      await ready.promise;
    }
  }

  async end(service: Service): Promise<void> {
    const found = this.#running.get(service);
    this.#running.delete(service);
    found?.stop.abort();
    await found?.ended.catch(() => undefined);
  }

  /** SIGKILL of the cluster's server. */
  async kill(name: Name): Promise<void> {
    this.servers[name].server.kill9();
    await this.servers[name].server.exited;
  }

  /** A tenant served by east, with a replica at west. */
  async tenant(name: string): Promise<TenantId> {
    const tenant = tenantId(name);
    const since = new Date().toISOString();
    await this.query('east', 'SELECT drover.open_tenant($1, 1)', [tenant]);
    await this.query('west', `SELECT drover.follow_tenant($1, 1, 'east', 'live', NULL, NULL, NULL)`, [
      tenant,
    ]);
    await this.catalog.createTenant(
      {
        tenant,
        isolation: 'column',
        tier: 'standard',
        users: { app: { verifier: scramVerifier(PASSWORD) } },
        state: 'active',
        createdAt: since,
      },
      {
        tenant,
        epoch: epoch(1),
        epochSeq: 0,
        primary: EAST,
        database: 'app',
        tier: 'standard',
        replicas: { west: { state: 'live', since } },
        state: 'active',
        updatedAt: since,
      },
    );
    return tenant;
  }

  async placement(tenant: TenantId): Promise<Placement> {
    const found = await this.catalog.getPlacement(tenant);
    if (found === null) throw new Error(`no placement of ${tenant}`);
    return found.value;
  }

  /** As the superuser. */
  async query<R extends pg.QueryResultRow>(name: Name, sql: string, params: unknown[] = []): Promise<R[]> {
    const client = await this.servers[name].connect('app');
    try {
      return (await client.query<R>(sql, params)).rows;
    } finally {
      await client.end();
    }
  }

  /** A session of the tenant, as the proxy makes it, past the proxy. */
  async session(name: Name, tenant: TenantId, under: number): Promise<pg.Client> {
    const client = new pg.Client({
      host: '127.0.0.1',
      port: this.servers[name].port,
      database: 'app',
      user: 'drover_tenant',
      password: derivePassword(SECRET, 'drover_tenant'),
    });
    client.on('error', () => undefined);
    await client.connect();
    const { n } = (await client.query('SELECT drover.attach() AS n')).rows[0] as { n: string };
    await client.query(`SELECT set_config('drover.context', $1, false)`, [
      signContext(deriveContextKey(SECRET), tenantToken(tenant), under, n),
    ]);
    return client;
  }

  /** A client of the tenant's application, through the proxy. */
  async client(tenant: TenantId): Promise<pg.Client> {
    const client = new pg.Client({
      host: '127.0.0.1',
      port: this.config.proxy.port,
      database: 'app',
      user: `${tenant}.app`,
      password: PASSWORD,
    });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  /** Clusters that accept a write of the tenant under the epoch they know. */
  async writable(tenant: TenantId): Promise<Name[]> {
    const out: Name[] = [];
    for (const name of NAMES) {
      const [row] = await this.query<{ epoch: number }>(
        name,
        'SELECT epoch::int AS epoch FROM drover.tenant WHERE tenant = $1',
        [tenant],
      );
      if (row === undefined) continue;
      const session = await this.session(name, tenant, row.epoch);
      try {
        await session.query('BEGIN');
        await session.query('INSERT INTO notes VALUES ($1, -1)', [tenant]);
        out.push(name);
      } catch (error) {
        if ((error as { code?: string }).code !== 'DR001') throw error;
      } finally {
        await session.end();
      }
    }
    return out;
  }

  async waitFor<T>(
    what: string,
    probe: () => Promise<T | undefined | false>,
    timeoutMs = 30_000,
  ): Promise<T> {
    return until(async () => (await probe()) || undefined, {
      everyMs: 50,
      timeoutMs,
      onTimeout: () => new Error(`not within ${timeoutMs} ms: ${what}`),
    });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#running.keys()].map((service) => this.end(service)));
    await this.#closer.close();
  }
}

async function setUp(server: TestPostgres, name: Name, sql: string, config: Config): Promise<void> {
  const root = await server.connect();
  await root.query('CREATE DATABASE app');
  await root.end();
  const client = await server.connect('app');
  await client.query(sql);
  await client.end();
  await setupCluster({
    cluster: clusterId(name),
    databases: ['app'],
    connect: (database) => server.connect(database),
    passwords: Object.fromEntries(
      ROLE_NAMES.map((role) => [role, derivePassword(SECRET, role)]),
    ) as RolePasswords,
    contextKey: deriveContextKey(SECRET),
    tagging: config.tagging,
    origins: [0, 1].map((slot) => originName('copy', slot)),
    failoverSlots: false,
  });
}
