/** For tests of this package: NATS, one or two clusters set up as `drover setup` would, tenants, and a running front door. */
import { type Bus, connectBus } from '@drover/bus';
import { type Catalog, openCatalog, type Placement, type Tenant } from '@drover/catalog';
import { type Config, deriveContextKey, derivePassword, parseConfig } from '@drover/config';
import { type ClusterId, clusterId, epoch, type TenantId, tenantId } from '@drover/core';
import { connectPg, openTenant, ROLE_NAMES, setupCluster } from '@drover/pg';
import { newTenant, type TestNats, type TestPostgres, testNats, testPort } from '@drover/testkit';
import pg from 'pg';
import { expect } from 'vitest';
import { run } from './main.ts';
import { createVerifier } from './protocol/scram.ts';
import { RawClient } from './raw.testing.ts';

export const SECRET = 'a-secret-for-tests-of-the-front-door-0123456789';
export const PASSWORD = 'open sesame';
const SCHEMA = `
  CREATE TABLE items (tenant text NOT NULL DEFAULT drover_tenant_default(), id int NOT NULL, note text, PRIMARY KEY (tenant, id));
`;

export interface World {
  readonly nats: TestNats;
  readonly bus: Bus;
  readonly catalog: Catalog;
  readonly config: Config;
  readonly database: string;
  /** Where the tenant's tables are. */
  databaseOf(tenant: string): string;
  readonly port: number;
  readonly id: string;
  readonly metricsUrl: string;
  /** Superuser at a cluster, in the tenant's database. */
  root(cluster?: string, tenant?: string): Promise<pg.Client>;
  addTenant(name: string, options?: Partial<Tenant> & { primary?: string }): Promise<void>;
  /** Options for a client of the tenant. */
  as(tenant: string, more?: pg.ClientConfig): pg.ClientConfig;
  client(tenant: string, more?: pg.ClientConfig): Promise<pg.Client>;
  /** A client that sends message by message, logged in. */
  raw(tenant?: string): Promise<RawClient>;
  /** For programs of PostgreSQL's, as a client of the tenant. */
  env(tenant: string): NodeJS.ProcessEnv;
  place(
    tenant: string,
    change: (placement: Placement) => Placement,
  ): Promise<{ placement: Placement; revision: number }>;
  /** Closes the tenant at its primary and opens it at `to` under the next epoch, in the database only. */
  moveInDatabase(tenant: string, from: string, to: string, nextEpoch: number): Promise<void>;
  /** Ends all clients made by {@link client} and {@link raw}. */
  endClients(): Promise<void>;
  metrics(): Promise<string>;
  close(): Promise<void>;
}

export interface WorldOptions {
  readonly servers: Readonly<Record<string, TestPostgres>>;
  /** Lines for [proxy]. */
  readonly proxy?: string;
  readonly tenants?: readonly string[];
  readonly sql?: string;
  /** Wait until the proxy is ready; false for tests of starting. */
  readonly wait?: boolean;
  /** What keeps tenants apart; default columns. Tables are the same, in a schema or database of each tenant. */
  readonly isolation?: Tenant['isolation'];
  /** Host and port of a cluster as the proxy sees it, for fault proxies. */
  readonly via?: Readonly<Record<string, number>>;
}

/** Tenants must be known from the start where they have schemas or databases of their own. */
export async function world(options: WorldOptions): Promise<World> {
  const nats = await testNats();
  const [first] = Object.values(options.servers);
  if (first === undefined) throw new Error('no server');
  const isolation = options.isolation ?? 'column';
  const database = await first.createDatabase('door');
  const databasePrefix = `${database}_`;
  const databaseOf = (tenant: string): string =>
    isolation === 'database' ? databasePrefix + tenant : database;
  const databases = [...new Set([database, ...(options.tenants ?? []).map(databaseOf)])];
  for (const server of Object.values(options.servers)) {
    const client = await server.connect();
    for (const name of databases) {
      if (server !== first || name !== database) await client.query(`CREATE DATABASE "${name}"`);
    }
    await client.end();
  }
  const passwords = Object.fromEntries(
    ROLE_NAMES.map((role) => [role, derivePassword(SECRET, role)]),
  ) as Parameters<typeof setupCluster>[0]['passwords'];
  for (const [name, server] of Object.entries(options.servers)) {
    for (const db of databases) {
      const root = await connectPg(server.connection(db, 'postgres'));
      const homes = isolation === 'schema' ? (options.tenants ?? []) : [];
      await root.query(
        `SET search_path = public;
         CREATE FUNCTION drover_tenant_default() RETURNS text LANGUAGE sql STABLE
           AS $$ SELECT split_part(current_setting('drover.context', true), '|', 1) $$;
         ${homes.length === 0 ? (options.sql ?? SCHEMA) : ''}
         ${homes.map((tenant) => `CREATE SCHEMA "tenant_${tenant}"; SET search_path = "tenant_${tenant}", public; ${options.sql ?? SCHEMA}`).join('\n')}`,
      );
      await root.end();
    }
    await setupCluster({
      cluster: clusterId(name),
      databases,
      connect: (db) => connectPg(server.connection(db, 'postgres')),
      passwords,
      contextKey: deriveContextKey(SECRET),
      tagging: {
        mode: isolation,
        column: 'tenant',
        overrides: {},
        reference: [],
        exclude: [],
        schemaPrefix: 'tenant_',
        databasePrefix,
      },
      origins: [],
    });
  }
  const clusters = Object.entries(options.servers).map(
    ([name, server]) =>
      `[[clusters]]\nname = "${name}"\nhost = "127.0.0.1"\nport = ${options.via?.[name] ?? server.port}\ndatabases = ${JSON.stringify(databases)}\nsetup_user = "postgres"\nsetup_password = "x"\nsslmode = "disable"\n`,
  );
  const port = await testPort();
  // A test process that stands still for a second or two keeps its lease.
  const proxy = /^lease = /m.test(options.proxy ?? '')
    ? options.proxy
    : `lease = "10s"\n${options.proxy ?? ''}`;
  const config = parseConfig(
    `[nats]\nurl = "${nats.url}"\n[security]\nsecret = "${SECRET}"\n[proxy]\nhost = "127.0.0.1"\nport = ${port}\n${proxy}\n[tagging]\nmode = "${isolation}"\ndatabase_prefix = "${databasePrefix}"\n[telemetry]\nport = 0\nlog_level = "${process.env['DROVER_TEST_LOG'] ?? 'error'}"\n${clusters.join('')}`,
    'test.toml',
  );
  const bus = await connectBus({ url: nats.url, name: 'test' });
  const catalog = await openCatalog(bus, { replicas: 1 });
  const stop = new AbortController();
  const ready = Promise.withResolvers<Record<string, unknown>>();
  const running = run({
    config,
    signal: stop.signal,
    metricsPort: 0,
    onReady: (info) => ready.resolve({ ...info }),
  });
  running.catch((error: unknown) => ready.reject(error));
  const names = Object.keys(options.servers);

  const root: World['root'] = async (cluster = names[0] ?? '', tenant) => {
    const server = options.servers[cluster];
    if (server === undefined) throw new Error(`no cluster ${cluster}`);
    return server.connect(tenant === undefined ? database : databaseOf(tenant));
  };
  const addTenant: World['addTenant'] = async (name, more = {}) => {
    const primary = clusterId(more.primary ?? names[0] ?? '');
    const admin = await root(primary, name);
    await openTenant(admin, { tenant: name, epoch: 1 });
    await admin.end();
    await catalog.createTenant(
      ...newTenant(name, {
        tenant: {
          isolation: more.isolation ?? isolation,
          users: more.users ?? { app: { verifier: createVerifier(PASSWORD) } },
          state: more.state ?? 'active',
        },
        placement: { primary, database: databaseOf(name) },
      }),
    );
  };
  for (const tenant of options.tenants ?? []) await addTenant(tenant);
  const info = options.wait === false ? {} : await ready.promise;
  const as: World['as'] = (tenant, more = {}) => ({
    host: '127.0.0.1',
    port,
    user: `${tenant}.app`,
    password: PASSWORD,
    database: databaseOf(tenant),
    ...more,
  });
  const clients: pg.Client[] = [];
  const raws: RawClient[] = [];
  return {
    nats,
    bus,
    catalog,
    config,
    database,
    databaseOf,
    port,
    id: String(info['id']),
    metricsUrl: String(info['metricsUrl']),
    root,
    addTenant,
    as,
    client: async (tenant, more) => {
      const client = new pg.Client(as(tenant, more));
      client.on('error', () => undefined);
      await client.connect();
      clients.push(client);
      return client;
    },
    raw: async (tenant = 'acme') => {
      const client = new RawClient(port);
      raws.push(client);
      await client.login({ user: `${tenant}.app`, database: databaseOf(tenant) }, PASSWORD);
      return client;
    },
    env: (tenant) => ({
      ...process.env,
      PGPASSWORD: PASSWORD,
      PGHOST: '127.0.0.1',
      PGPORT: String(port),
      PGUSER: `${tenant}.app`,
      PGDATABASE: databaseOf(tenant),
    }),
    place: async (tenant, change) => {
      const placement = await catalog.changePlacement(tenantId(tenant) as TenantId, change);
      const found = await catalog.getPlacement(tenantId(tenant));
      return { placement, revision: found?.revision ?? 0 };
    },
    moveInDatabase: async (tenant, from, to, nextEpoch) => {
      const [a, b] = await Promise.all([root(from), root(to)]);
      await a.query('SELECT drover.close_tenant($1, $2)', [tenant, nextEpoch - 1]);
      await openTenant(b, { tenant, epoch: nextEpoch });
      await Promise.all([a.end(), b.end()]);
    },
    endClients: async () => {
      await Promise.all(clients.splice(0).map((client) => client.end().catch(() => undefined)));
      for (const client of raws.splice(0)) client.socket.destroy();
    },
    metrics: async () => (await fetch(`${String(info['metricsUrl'])}/metrics`)).text(),
    close: async () => {
      await Promise.all(clients.map((client) => client.end().catch(() => undefined)));
      stop.abort();
      await running;
      await bus.close();
      await nats.stop();
    },
  };
}

export const moved =
  (to: string) =>
  (placement: Placement): Placement => {
    const { move: _move, ...rest } = placement;
    return {
      ...rest,
      state: 'active',
      primary: clusterId(to) as ClusterId,
      epoch: epoch(placement.epoch + 1),
      updatedAt: new Date().toISOString(),
    };
  };

export const moving =
  (to: string) =>
  (placement: Placement): Placement => ({
    ...placement,
    state: 'moving',
    move: {
      id: crypto.randomUUID(),
      kind: 'switchover',
      from: placement.primary,
      to: clusterId(to),
      nextEpoch: epoch(placement.epoch + 1),
      step: 'hold',
      startedAt: new Date().toISOString(),
      reason: 'test',
    },
    updatedAt: new Date().toISOString(),
  });

/** Resolves when a session is at this statement. */
export async function isAt(root: pg.Client, statement: string): Promise<void> {
  const sessions = `SELECT FROM pg_stat_activity WHERE query = $1 AND state = 'active'`;
  await expect.poll(async () => (await root.query(sessions, [statement])).rowCount).toBe(1);
}
