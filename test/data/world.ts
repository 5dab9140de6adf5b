/**
 * East captured, west applying, for tests of data: what is written at the source is waited for at the replica and compared by `oracle.ts`. The two
 * databases have settings that print and read values differently, and no setting here is the default: what depends on one fails.
 */
import { type TenantId, tenantId } from '@drover/core';
import type { PgMajor } from '@drover/local';
import { newTenant, type TestPostgres } from '@drover/testkit';
import { Copies } from '../lib/copies.ts';
import { spawned } from '../lib/processes.ts';
import { Replica, type Sessions } from '../lib/replica.ts';
import { inProcess } from '../lib/services.ts';
import {
  type Clusters,
  DATABASE,
  merged,
  NAMES,
  type Name,
  type Sections,
  setUp,
  startClusters,
} from '../lib/two-clusters.ts';
import { differences } from './oracle.ts';

export { NAMES, type Name };

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
  readonly sections?: Sections;
}

const SECTIONS: Sections = {
  tagging: { reference: ['shared.*'] },
  cdc: { heartbeat: '100ms' },
  migration: { chunk_rows: 7 },
  // Tables are made on both sides, and not alike.
  capture: { ddl: false },
};

export class DataWorld extends Replica {
  readonly #copies: Copies;

  private constructor(clusters: Clusters, sessions: Sessions, start: typeof inProcess) {
    super(clusters, sessions, start);
    this.#copies = clusters.closer.add(new Copies(clusters));
  }

  static async start(options: DataWorldOptions = {}): Promise<DataWorld> {
    const clusters = await startClusters({
      postgres: { east: { major: options.source ?? 18 }, west: { major: options.target ?? 18 } },
      sections: merged(SECTIONS, options.sections ?? {}),
      makeDatabase: (server, name) => makeDatabase(server, name, options.sql ?? ''),
    });
    const { servers, closer } = clusters;
    const connect = async (name: Name) => {
      const client = await servers[name].connect(DATABASE);
      closer.add({ close: () => client.end() });
      await client.query(PLAIN);
      return client;
    };
    const [source, target] = [await connect('east'), await connect('west')];
    const start = options.processes === true ? spawned : inProcess;
    const world = new DataWorld(clusters, { source, target, root: source }, start);
    await world.run('cdc east', 'apply west');
    return world;
  }

  /** `sql` at the source, `there` at the replica, then the setup of both. */
  async tables(sql: string, there = sql): Promise<void> {
    await this.settled(); // rows of a table that is about to go
    await this.source.query(sql);
    await this.target.query(there);
    for (const name of NAMES) await setUp(this.servers[name], name, this.config);
  }

  /** The tenant is known, and its replica at west is to be copied by {@link copy}. */
  async copied(name: string): Promise<TenantId> {
    const tenant = tenantId(name);
    await this.source.query('SELECT drover.open_tenant($1, 1)', [tenant]);
    await this.catalog.createTenant(...newTenant(tenant, { west: 'copying' }));
    return tenant;
  }

  /** The copy, in this process. `failpoint` may throw to stop it there. */
  copy(tenant: TenantId, failpoint?: (step: string) => Promise<void>): Promise<void> {
    return this.#copies.copy(tenant, failpoint === undefined ? {} : { failpoint });
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

  /** The tables have the same rows on both sides, by text and by binary form, and nobody was stopped. */
  async same(tables: readonly string[], where?: string): Promise<void> {
    await this.passed();
    const found = await differences(this.source, this.target, tables, where);
    if (found.length > 0) throw new Error(found.join('\n').slice(0, 4000));
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
