/**
 * Two clusters, a bus, and the real reader and the real apply between them, for tests of data: what is written at the source is waited for
 * at the replica and compared by `oracle.ts`. The two databases have settings that print and read values differently, and no setting here is
 * the default: what depends on one fails.
 */
import { type Bus, connectBus } from '@drover/bus';
import { type Catalog, openCatalog } from '@drover/catalog';
import {
  type Config,
  configFromParts,
  deriveContextKey,
  derivePassword,
  roleConnection,
} from '@drover/config';
import { Closer, type ClusterId, clusterId, epoch, type TenantId, tenantId, until } from '@drover/core';
import type { PgMajor } from '@drover/local';
import { connectPg, originName, PgPool, ROLE_NAMES, type RolePasswords, setupCluster } from '@drover/pg';
import { createLogger } from '@drover/telemetry';
import { ownPostgres, type TestNats, type TestPostgres, testNats } from '@drover/testkit';
import type pg from 'pg';
import { copyTenant } from '../../services/migration/src/copy/copy-tenant.ts';
import { differences } from './oracle.ts';
import { inProcess, type Running, type ServiceName, spawned } from './service.ts';

const SECRET = 'a secret of thirty-two characters or more';
const PARTITIONS = 2;
const SETTLE_MS = 60_000;
export const NAMES = ['east', 'west'] as const;
export type Name = (typeof NAMES)[number];

/** Whatever an application or a database may have set. */
const SETTINGS: Readonly<Record<Name, Readonly<Record<string, string>>>> = {
  east: {
    datestyle: 'SQL, DMY',
    intervalstyle: 'sql_standard',
    timezone: 'Asia/Kolkata',
    bytea_output: 'escape',
    extra_float_digits: '-10',
    xmloption: 'document',
    array_nulls: 'off',
  },
  west: {
    datestyle: 'German, DMY',
    intervalstyle: 'postgres_verbose',
    timezone: 'America/St_Johns',
    extra_float_digits: '-15',
    xmloption: 'document',
    array_nulls: 'off',
    default_transaction_isolation: 'serializable',
  },
};

/** One session of a test reads and writes values the same way on both sides. */
const PLAIN = `SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET timezone = 'UTC'; SET bytea_output = 'hex'; SET extra_float_digits = 1;
  SET xmloption = 'content'; SET array_nulls = on; SET default_transaction_isolation = 'read committed'; SET check_function_bodies = off;`;

export interface DataWorldOptions {
  readonly source?: PgMajor;
  readonly target?: PgMajor;
  /** Services are processes that can be killed; default: they run here. */
  readonly processes?: boolean;
  /** Before the setup, on both. */
  readonly sql?: string;
  readonly sections?: Record<string, Record<string, unknown>>;
}

export class DataWorld {
  readonly servers: Readonly<Record<Name, TestPostgres>>;
  /** As superusers. */
  readonly source: pg.Client;
  readonly target: pg.Client;
  readonly nats: TestNats;
  readonly bus: Bus;
  readonly catalog: Catalog;
  readonly config: Config;
  readonly #closer: Closer;
  readonly #processes: boolean;
  readonly #running = new Map<ServiceName, Running>();
  readonly #pools = new Map<string, PgPool>();

  private constructor(
    closer: Closer,
    processes: boolean,
    parts: Pick<DataWorld, 'servers' | 'source' | 'target' | 'nats' | 'bus' | 'catalog' | 'config'>,
  ) {
    this.#closer = closer;
    this.#processes = processes;
    this.servers = parts.servers;
    this.source = parts.source;
    this.target = parts.target;
    this.nats = parts.nats;
    this.bus = parts.bus;
    this.catalog = parts.catalog;
    this.config = parts.config;
  }

  static async start(options: DataWorldOptions = {}): Promise<DataWorld> {
    const closer = new Closer();
    const nats = await testNats();
    closer.add({ close: () => nats.stop() });
    const servers = {
      east: await ownPostgres({ major: options.source ?? 18 }),
      west: await ownPostgres({ major: options.target ?? 18 }),
    };
    for (const name of NAMES) closer.add({ close: () => servers[name].stop() });
    const config = configFromParts({
      clusters: NAMES.map((name) => ({
        name,
        host: '127.0.0.1',
        port: servers[name].port,
        databases: ['app'],
      })),
      sections: {
        security: { secret: SECRET },
        tagging: { column: 'tenant', reference: ['shared.*'] },
        telemetry: { port: 0, log_level: process.env['DROVER_TEST_LOG'] ?? 'error' },
        nats: { url: nats.url, partitions: PARTITIONS },
        cdc: { heartbeat: '100ms' },
        migration: { chunk_rows: 7 },
        // Tables are made on both sides, and not alike.
        capture: { ddl: false },
        ...options.sections,
      },
    });
    for (const name of NAMES) await makeDatabase(servers[name], name, options.sql ?? '');
    for (const name of NAMES) await setUp(servers[name], name, config);
    const connect = async (name: Name): Promise<pg.Client> => {
      const client = await servers[name].connect('app');
      closer.add({ close: () => client.end() });
      await client.query(PLAIN);
      return client;
    };
    const [source, target] = [await connect('east'), await connect('west')];
    const bus = closer.add(await connectBus({ url: nats.url, name: 'test' }));
    const catalog = closer.add(await openCatalog(bus, { replicas: 1 }));
    const world = new DataWorld(closer, options.processes === true, {
      servers,
      source,
      target,
      nats,
      bus,
      catalog,
      config,
    });
    await world.run('cdc', 'apply');
    return world;
  }

  async run(...services: ServiceName[]): Promise<void> {
    for (const service of services) {
      const start = this.#processes ? spawned : inProcess;
      this.#running.set(service, await start(service, this.config));
    }
  }

  /** In an orderly way. */
  async stop(service: ServiceName): Promise<void> {
    const running = this.#running.get(service);
    this.#running.delete(service);
    await running?.stop();
  }

  /** SIGKILL: nothing more of it runs. */
  async kill(service: ServiceName): Promise<void> {
    const running = this.#running.get(service);
    this.#running.delete(service);
    await running?.kill();
  }

  /** `sql` at the source, `there` at the replica, then the setup of both. */
  async tables(sql: string, there = sql): Promise<void> {
    await this.settled(); // rows of a table that is about to go
    await this.source.query(sql);
    await this.target.query(there);
    for (const name of NAMES) await setUp(this.servers[name], name, this.config);
  }

  /** Served by east, followed by west from here on. */
  async tenant(...names: string[]): Promise<void> {
    for (const name of names) {
      const shared = name.startsWith('_');
      if (!shared) await this.source.query('SELECT drover.open_tenant($1, 1)', [name]);
      await this.target.query(`SELECT drover.follow_tenant($1, $2, 'east', 'live', NULL, NULL, NULL)`, [
        name,
        shared ? 0 : 1,
      ]);
    }
  }

  /** The tenant is known, and its replica at west is to be copied by {@link copy}. */
  async copied(name: string): Promise<TenantId> {
    const tenant = tenantId(name);
    const since = new Date().toISOString();
    await this.source.query('SELECT drover.open_tenant($1, 1)', [tenant]);
    await this.catalog.createTenant(
      { tenant, isolation: 'column', tier: 'standard', users: {}, state: 'active', createdAt: since },
      {
        tenant,
        epoch: epoch(1),
        epochSeq: 0,
        primary: clusterId('east'),
        database: 'app',
        tier: 'standard',
        replicas: { west: { state: 'copying', since } },
        state: 'active',
        updatedAt: since,
      },
    );
    return tenant;
  }

  /** The copy, in this process. `failpoint` may throw to stop it there. */
  copy(tenant: TenantId, failpoint?: (step: string) => Promise<void>): Promise<void> {
    const poolOf = (role: 'drover_admin' | 'drover_apply') => (cluster: ClusterId, database: string) =>
      this.#pool(role, cluster, database);
    return copyTenant(
      {
        bus: this.bus,
        catalog: this.catalog,
        log: createLogger({ service: 'test', level: 'error' }),
        tagging: this.config.tagging,
        partitions: PARTITIONS,
        chunkRows: this.config.migration.chunkRows,
        admin: poolOf('drover_admin'),
        apply: poolOf('drover_apply'),
        signal: new AbortController().signal,
        onRows: () => undefined,
        ...(failpoint === undefined ? {} : { failpoint }),
      },
      tenant,
      clusterId('west'),
      0,
    );
  }

  /** The copy of a tenant that was live is asked for anew. */
  async copyAnew(tenant: TenantId): Promise<void> {
    const since = new Date().toISOString();
    await this.catalog.changePlacement(tenant, (p) => ({
      ...p,
      replicas: { ...p.replicas, west: { state: 'copying', since } },
    }));
    await this.copy(tenant);
  }

  /** At the source, each by itself (several statements of one text are one transaction). */
  async write(...statements: string[]): Promise<void> {
    for (const sql of statements) {
      try {
        await this.source.query(sql);
      } catch (error) {
        await this.source.query('ROLLBACK').catch(() => undefined);
        throw new Error(`${(error as Error).message}: ${sql.slice(0, 500)}`, { cause: error });
      }
    }
  }

  /** Everything that has been committed at the source is applied, or its tenant stopped. */
  async settled(timeoutMs = SETTLE_MS): Promise<void> {
    const { rows } = await this.source.query<{ ms: number }>(
      'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms',
    );
    const ms = (rows[0]?.ms ?? 0) + 1;
    let state: unknown;
    await until(
      async () => {
        const found = await this.target.query<{ passed: number; lanes: number }>(
          `SELECT (SELECT count(*)::int FROM drover.stream_position WHERE extract(epoch FROM commit_time) * 1000 > $1) AS passed,
             (SELECT count(*)::int FROM drover.tenant WHERE feed = 'catchup') AS lanes`,
          [ms],
        );
        [state] = found.rows;
        const { passed = 0, lanes = 0 } = found.rows[0] ?? {};
        return (passed === PARTITIONS && lanes === 0) || undefined;
      },
      { everyMs: 20, timeoutMs, onTimeout: () => new Error(`not settled: ${JSON.stringify(state)}`) },
    );
  }

  /** Tenants that stopped, with the reason. */
  async stopped(): Promise<{ tenant: string; reason: string }[]> {
    const { rows } = await this.target.query<{ tenant: string; reason: string }>(
      `SELECT tenant, reason FROM drover.tenant WHERE feed NOT IN ('live', 'catchup') ORDER BY tenant`,
    );
    return rows;
  }

  /** The tables have the same rows on both sides, by text and by binary form, and nobody was stopped. */
  async same(tables: readonly string[], where?: string): Promise<void> {
    await this.settled();
    const stopped = await this.stopped();
    if (stopped.length > 0) throw new Error(`stopped: ${JSON.stringify(stopped).slice(0, 2000)}`);
    const found = await differences(this.source, this.target, tables, where);
    if (found.length > 0) throw new Error(found.join('\n').slice(0, 4000));
  }

  async close(): Promise<void> {
    await Promise.all([...this.#running.keys()].map((service) => this.stop(service)));
    await Promise.all([...this.#pools.values()].map((pool) => pool.close()));
    await this.#closer.close();
  }

  #pool(role: 'drover_admin' | 'drover_apply', cluster: ClusterId, database: string): PgPool {
    const key = `${role}/${cluster}`;
    const found = this.#pools.get(key);
    if (found !== undefined) return found;
    const entry = this.config.clusters.find((c) => c.name === cluster);
    if (entry === undefined) throw new Error(`no cluster ${cluster}`);
    const pool = new PgPool({ ...roleConnection(entry, role, SECRET, database), max: 4 });
    this.#pools.set(key, pool);
    return pool;
  }
}

async function makeDatabase(server: TestPostgres, name: Name, sql: string): Promise<void> {
  const root = await server.connect();
  await root.query('CREATE DATABASE app');
  for (const [setting, value] of Object.entries(SETTINGS[name]))
    await root.query(`ALTER DATABASE app SET ${setting} = '${value}'`);
  await root.end();
  const client = await server.connect('app');
  await client.query(PLAIN);
  await client.query('CREATE SCHEMA shared');
  await client.query(sql);
  await client.end();
}

async function setUp(server: TestPostgres, name: Name, config: Config): Promise<void> {
  await setupCluster({
    cluster: clusterId(name),
    databases: ['app'],
    connect: (database) => connectPg(server.connection(database)),
    passwords: Object.fromEntries(
      ROLE_NAMES.map((role) => [role, derivePassword(SECRET, role)]),
    ) as RolePasswords,
    contextKey: deriveContextKey(SECRET),
    tagging: config.tagging,
    origins: [0, 1].map((slot) => originName('copy', slot)),
    ddl: false,
    failoverSlots: false,
  });
}
