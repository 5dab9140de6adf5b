/**
 * Two clusters, a bus, and the real reader and the real apply between them, for tests of schema changes: what is done at the source is
 * waited for at the replica, and both are compared, catalog and rows.
 */
import { type Bus, connectBus } from '@drover/bus';
import { type Config, configFromParts, deriveContextKey, derivePassword } from '@drover/config';
import { Closer, clusterId, until } from '@drover/core';
import type { PgMajor } from '@drover/local';
import { ROLE_NAMES, type RolePasswords, setupCluster, type Tagging } from '@drover/pg';
import { compareTables, ownPostgres, type TestPostgres, testNats } from '@drover/testkit';
import type pg from 'pg';
import { run as runApply } from '../../services/apply/src/main.ts';
import { run as runCdc } from '../../services/cdc/src/main.ts';

const SECRET = 'a secret of thirty-two characters or more';
const PARTITIONS = 3;

export interface DdlWorldOptions {
  readonly source?: PgMajor;
  readonly target?: PgMajor;
  readonly tagging?: Record<string, unknown>;
  /** Makes tables on both, before the setup. */
  readonly sql?: string;
  readonly targetSql?: string;
}

export class DdlWorld {
  /** As the owner of the tables, an ordinary role. */
  readonly source: pg.Client;
  /** As superusers. */
  readonly root: pg.Client;
  readonly target: pg.Client;
  readonly servers: { readonly east: TestPostgres; readonly west: TestPostgres };
  readonly bus: Bus;
  readonly config: Config;
  readonly #closer: Closer;
  #apply: { stop: AbortController; ended: Promise<void> } | undefined;
  #cdc: { stop: AbortController; ended: Promise<void> } | undefined;

  private constructor(
    parts: Pick<DdlWorld, 'source' | 'root' | 'target' | 'servers' | 'bus' | 'config'> & { closer: Closer },
  ) {
    this.source = parts.source;
    this.root = parts.root;
    this.target = parts.target;
    this.servers = parts.servers;
    this.bus = parts.bus;
    this.config = parts.config;
    this.#closer = parts.closer;
  }

  static async start(options: DdlWorldOptions = {}): Promise<DdlWorld> {
    const closer = new Closer();
    const nats = await testNats();
    closer.add({ close: () => nats.stop() });
    const servers = {
      east: await ownPostgres({ major: options.source ?? 18 }),
      west: await ownPostgres({ major: options.target ?? 18 }),
    };
    for (const server of Object.values(servers)) closer.add({ close: () => server.stop() });
    const config = configFromParts({
      clusters: (['east', 'west'] as const).map((name) => ({
        name,
        host: '127.0.0.1',
        port: servers[name].port,
        databases: ['app'],
      })),
      sections: {
        security: { secret: SECRET },
        tagging: { column: 'tenant', reference: ['public.ref', 'public.ref2'], ...options.tagging },
        telemetry: { port: 0, log_level: process.env['DROVER_TEST_LOG'] ?? 'error' },
        nats: { url: nats.url, partitions: PARTITIONS },
        cdc: { heartbeat: '100ms' },
      },
    });
    for (const name of ['east', 'west'] as const) {
      const root = await servers[name].connect();
      await root.query('CREATE ROLE app_owner');
      await root.query('CREATE DATABASE app OWNER app_owner');
      await root.end();
      const client = await servers[name].connect('app');
      await client.query('SET ROLE app_owner');
      await client.query(options.sql ?? '');
      if (name === 'west') await client.query(options.targetSql ?? '');
      await client.end();
      await setUp(servers[name], name, config);
    }
    const [source, target] = [await servers.east.connect('app'), await servers.west.connect('app')];
    const root = await servers.east.connect('app');
    await source.query('SET ROLE app_owner');
    const bus = closer.add(await connectBus({ url: nats.url, name: 'test' }));
    const world = new DdlWorld({ source, root, target, servers, bus, config, closer });
    await world.startCdc();
    await world.startApply();
    return world;
  }

  async startCdc(): Promise<void> {
    const stop = new AbortController();
    const ready = Promise.withResolvers<void>();
    const ended = runCdc({
      config: this.config,
      cluster: clusterId('east'),
      signal: stop.signal,
      metricsPort: 0,
      onReady: () => ready.resolve(),
    });
    ended.catch(ready.reject);
    this.#cdc = { stop, ended };
    await ready.promise;
  }

  async stopCdc(): Promise<void> {
    this.#cdc?.stop.abort();
    await this.#cdc?.ended;
    this.#cdc = undefined;
  }

  async startApply(): Promise<void> {
    const stop = new AbortController();
    const ready = Promise.withResolvers<void>();
    const ended = runApply({
      config: this.config,
      cluster: clusterId('west'),
      signal: stop.signal,
      metricsPort: 0,
      onReady: () => ready.resolve(),
    });
    ended.catch(ready.reject);
    this.#apply = { stop, ended };
    await ready.promise;
  }

  async stopApply(): Promise<void> {
    this.#apply?.stop.abort();
    await this.#apply?.ended;
    this.#apply = undefined;
  }

  async tenant(...names: string[]): Promise<void> {
    for (const name of names) {
      if (!name.startsWith('_')) await this.root.query('SELECT drover.open_tenant($1, 1)', [name]);
      const epoch = name.startsWith('_') ? 0 : 1;
      await this.target.query(`SELECT drover.follow_tenant($1, $2, 'east', 'live', NULL, NULL, NULL)`, [
        name,
        epoch,
      ]);
    }
  }

  /** At the source, one statement (or one multi-statement transaction) after the other. */
  async run(...statements: string[]): Promise<void> {
    for (const sql of statements) {
      try {
        await this.source.query(sql);
      } catch (error) {
        await this.source.query('ROLLBACK').catch(() => undefined);
        throw new Error(`${sql}: ${(error as Error).message}`, { cause: error });
      }
    }
  }

  /** Everything that has been committed at the source is applied, schema changes to their end, or its tenant stopped. */
  async settled(timeoutMs = 30_000): Promise<void> {
    const [row] = (
      await this.source.query(`SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms`)
    ).rows;
    const ms = (row as { ms: number }).ms + 1;
    let state: unknown;
    await until(
      async () => {
        const { rows } = await this.target.query(
          `SELECT (SELECT count(*)::int FROM drover.stream_position WHERE extract(epoch FROM commit_time) * 1000 > $1) AS passed,
             (SELECT count(*)::int FROM drover.tenant WHERE feed = 'catchup') AS lanes,
             (SELECT count(*)::int FROM drover.ddl_step WHERE status = 'pending' AND reason IS NULL) AS pending,
             (SELECT json_agg(s.*) FROM drover.ddl_step s WHERE status <> 'done') AS steps`,
          [ms],
        );
        [state] = rows;
        const { passed, lanes, pending } = rows[0] as Record<string, number>;
        return (passed === PARTITIONS && lanes === 0 && pending === 0) || undefined;
      },
      { everyMs: 20, timeoutMs, onTimeout: () => new Error(`not settled: ${JSON.stringify(state)}`) },
    );
  }

  /** Catalog and rows are the same, and nobody has been stopped. */
  async same(): Promise<void> {
    await this.settled();
    const parked = await this.parked();
    if (parked.length > 0) throw new Error(`parked: ${JSON.stringify(parked)}`);
    const [ours, theirs] = [await shapesOf(this.root), await shapesOf(this.target)];
    if (JSON.stringify(ours) !== JSON.stringify(theirs)) throw new Error(difference(ours, theirs));
    const tables = Object.keys(ours).filter(
      (name) => !name.startsWith('type ') && ours[name]?.['part'] !== true,
    );
    const differences = await compareTables(this.root, this.target, tables);
    if (differences.length > 0) throw new Error(JSON.stringify(differences).slice(0, 2000));
  }

  async flow(...statements: string[]): Promise<void> {
    await this.run(...statements);
    await this.same();
  }

  async parked(): Promise<{ tenant: string; reason: string }[]> {
    const { rows } = await this.target.query(
      `SELECT tenant, reason FROM drover.tenant WHERE feed NOT IN ('live', 'catchup') ORDER BY tenant`,
    );
    return rows as { tenant: string; reason: string }[];
  }

  async close(): Promise<void> {
    await this.source.end();
    await this.root.end();
    await this.target.end();
    await this.stopApply();
    await this.stopCdc();
    await this.#closer.close();
  }
}

type Shapes = Record<string, Record<string, unknown>>;

/** What an application sees of the schema: nothing that is a number of this server's own. */
async function shapesOf(client: pg.Client): Promise<Shapes> {
  const { rows } = await client.query(
    `SELECT t.kind, t.name, t.shape FROM (
       SELECT 'table' AS kind, format('%I.%I', n.nspname, c.relname) AS name, drover.ddl_table(c.oid) AS shape FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'drover')
       UNION ALL SELECT 'type', format('%I.%I', n.nspname, t.typname), drover.ddl_type(t.oid) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
       WHERE t.typtype IN ('e', 'd', 'c') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'drover')) t
     WHERE t.shape IS NOT NULL ORDER BY 1, 2`,
  );
  const out: Shapes = {};
  for (const { kind, name, shape } of rows) {
    const without = strip(shape) as Record<string, unknown>;
    if (kind === 'table') without['part'] = shape.parent !== null;
    // What partitions inherit differs between versions.
    if (shape.parent)
      without['columns'] = shape.columns.map((c: { name: string; type: string }) => [c.name, c.type]).sort();
    out[kind === 'type' ? `type ${name}` : name] = without;
  }
  return out;
}

const ORDERED = new Set(['labels']);

function strip(value: unknown, key = ''): unknown {
  if (Array.isArray(value)) {
    const items = value.map((item) => strip(item));
    if (ORDERED.has(key)) return items;
    return items.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  }
  if (typeof value !== 'object' || value === null) return value;
  const skip = ['oid', 'n', 'typeOid', 'baseOid', 'column', 'owner', 'schemaOwner', 'columns'];
  return Object.fromEntries(
    Object.entries(value)
      .filter(([k, v]) => !skip.includes(k) || (k === 'columns' && typeof v[0] === 'object'))
      .map(([k, v]) => [k, strip(v, k)]),
  );
}

function difference(ours: Shapes, theirs: Shapes): string {
  const names = new Set([...Object.keys(ours), ...Object.keys(theirs)]);
  const out: string[] = [];
  for (const name of names) {
    const [a, b] = [ours[name], theirs[name]];
    for (const key of new Set([...Object.keys(a ?? {}), ...Object.keys(b ?? {})])) {
      const [x, y] = [JSON.stringify(a?.[key]), JSON.stringify(b?.[key])];
      if (x !== y) out.push(`${name} ${key}\n  source  ${x}\n  replica ${y}`);
    }
  }
  return out.join('\n').slice(0, 4000);
}

async function setUp(server: TestPostgres, name: string, config: Config): Promise<void> {
  await setupCluster({
    cluster: clusterId(name),
    databases: ['app'],
    connect: (database) => server.connect(database),
    passwords: Object.fromEntries(
      ROLE_NAMES.map((role) => [role, derivePassword(SECRET, role)]),
    ) as unknown as RolePasswords,
    contextKey: deriveContextKey(SECRET),
    tagging: config.tagging as Tagging,
    origins: [],
    failoverSlots: false,
  });
}
