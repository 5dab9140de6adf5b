/**
 * For the tests of this service: two clusters (PostgreSQL servers of their own, behind proxies that can be cut), a bus, a tenant at
 * `east` with a replica at `west`, and a stand-in for capture and apply that says how far the replica has come.
 */
import { type Bus, connectBus, ensureStream, streamName, subjectOf } from '@drover/bus';
import { type Catalog, openCatalog, type Placement } from '@drover/catalog';
import { type Config, configFromParts } from '@drover/config';
import {
  Closer,
  type ClusterId,
  cancelled,
  clusterId,
  deferred,
  must,
  partitionOf,
  sleep,
  type TenantId,
  tenantId,
  tenantToken,
  until,
} from '@drover/core';
import { PgPool, readTenantRow, signContext, slotName, type TenantRow } from '@drover/pg';
import { createLogger } from '@drover/telemetry';
import {
  FaultProxy,
  newTenant,
  preparedDatabase,
  TEST_CONTEXT_KEY,
  TEST_SECRET,
  type TestNats,
  type TestPostgres,
  testNats,
  testPostgres,
  unique,
} from '@drover/testkit';
import { type FailoverOptions, run } from './main.ts';
import { BoundedPool } from './moves/bounded-pool.ts';
import type { MoveContext } from './moves/move.ts';

export const EAST = clusterId('east');
export const WEST = clusterId('west');
export type Name = 'east' | 'west';
export const PARTITIONS = 2;
const TABLES = 'CREATE TABLE public.notes (tenant text NOT NULL, id int, PRIMARY KEY (tenant, id))';

/** A controller's context whose leader can be killed: nothing of it goes on. */
export interface Leader {
  readonly context: MoveContext;
  kill(): void;
}

/** What a leader meets at a failpoint. */
export type Meets = (failpoint: string, leader: Leader) => Promise<void> | void;

export class World {
  readonly nats: TestNats;
  readonly bus: Bus;
  readonly catalog: Catalog;
  readonly database: string;
  readonly servers: Readonly<Record<Name, TestPostgres>>;
  readonly lines: Readonly<Record<Name, FaultProxy>>;
  /** As the superuser, past the lines. */
  readonly root: Readonly<Record<Name, PgPool>>;
  readonly config: Config;
  readonly #closer: Closer;
  readonly #pools = new Map<string, BoundedPool>();
  #tenants = 0;

  constructor(
    closer: Closer,
    parts: Pick<World, 'nats' | 'bus' | 'catalog' | 'database' | 'servers' | 'lines' | 'root' | 'config'>,
  ) {
    this.#closer = closer;
    this.nats = parts.nats;
    this.bus = parts.bus;
    this.catalog = parts.catalog;
    this.database = parts.database;
    this.servers = parts.servers;
    this.lines = parts.lines;
    this.root = parts.root;
    this.config = parts.config;
  }

  pool(cluster: ClusterId): BoundedPool {
    let pool = this.#pools.get(cluster);
    if (pool === undefined) {
      const options = this.servers[cluster as unknown as Name].connection(this.database, 'drover_admin');
      const port = this.lines[cluster as unknown as Name].port;
      pool = new BoundedPool(
        this.#closer.add(new PgPool({ ...options, port, max: 8, connectTimeoutMs: 5000 })),
        8000,
      );
      this.#pools.set(cluster, pool);
    }
    return pool;
  }

  leader(meets: Meets = () => undefined, more: Partial<MoveContext> = {}): Leader {
    const stop = new AbortController();
    const level = process.env['DROVER_TEST_LOG'] === undefined ? 'error' : 'debug';
    const leader: Leader = {
      kill: () => stop.abort(),
      context: {
        bus: this.bus,
        catalog: this.catalog,
        clusters: { pool: (cluster) => this.pool(cluster) },
        partitions: PARTITIONS,
        signal: stop.signal,
        live: async () => new Set(),
        tagging: this.config.tagging,
        drainTimeoutMs: 20_000,
        log: createLogger({ service: 'test', level }),
        failpoint: async (name) => meets(name, leader),
        ...more,
      },
    };
    return leader;
  }

  /** A tenant of its own for each test, open at `east`, live at `west`. */
  async tenant(): Promise<TenantId> {
    const tenant = tenantId(`t${++this.#tenants}`);
    await this.root.east.query('SELECT drover.open_tenant($1, 1)', [tenant]);
    await this.root.west.query(`SELECT drover.follow_tenant($1, 1, 'east', 'live', NULL, 0, NULL)`, [tenant]);
    await this.catalog.createTenant(
      ...newTenant(tenant, { west: 'live', placement: { database: this.database } }),
    );
    return tenant;
  }

  async placement(tenant: TenantId): Promise<Placement> {
    return must(await this.catalog.getPlacement(tenant), 'placement').value;
  }

  row(cluster: Name, tenant: TenantId): Promise<TenantRow | null> {
    return readTenantRow(this.root[cluster], tenant);
  }

  /** The clusters that accept a real write of the tenant under the epoch its row there names, tried as the proxy would. */
  async writable(tenant: TenantId): Promise<Name[]> {
    const out: Name[] = [];
    for (const name of ['east', 'west'] as const) {
      const row = await this.row(name, tenant);
      if (row !== null && (await this.canWrite(name, tenant, row.epoch))) out.push(name);
    }
    return out;
  }

  async canWrite(cluster: Name, tenant: TenantId, under: number): Promise<boolean> {
    const client = await this.servers[cluster].connect(this.database, 'drover_tenant');
    try {
      const { n } = (await client.query('SELECT drover.attach() AS n')).rows[0] as { n: string };
      const token = tenantToken(tenant);
      await client.query(`SELECT set_config('drover.context', $1, false)`, [
        signContext(TEST_CONTEXT_KEY, token, under, n),
      ]);
      await client.query('BEGIN');
      await client.query('INSERT INTO public.notes VALUES ($1, 1)', [tenant]);
      await client.query('ROLLBACK');
      return true;
    } catch (error) {
      if ((error as { code?: string }).code === 'DR001') return false;
      throw error;
    } finally {
      await client.end();
    }
  }

  /**
   * In place of capture and apply: both clusters' replicas come up with their sources, at once and for ever. Ends with the signal. Each look takes the
   * source's position before it is written down, so a barrier counts as applied only after it was written.
   */
  async replicate(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      for (const [from, to] of [
        ['east', 'west'],
        ['west', 'east'],
      ] as const) {
        const source = this.root[from];
        const { rows } = await source.query<{ lsn: string }>(
          'SELECT pg_current_wal_insert_lsn()::text AS lsn',
        );
        await this.root[to].query(
          `UPDATE drover.tenant SET commit_lsn = $1, system_id = $2, generation = 1, feed = 'live'
           WHERE role = 'replica' AND source = $2 AND feed IN ('live', 'catchup')`,
          [rows[0]?.lsn, from],
        );
      }
      await this.passed();
      await sleep(10, signal);
    }
  }

  /** Both apply workers have dealt with all that is on the bus. */
  async passed(): Promise<void> {
    for (const [from, to] of [
      ['east', 'west'],
      ['west', 'east'],
    ] as const) {
      for (let partition = 0; partition < PARTITIONS; partition++) {
        const { state } = await this.bus.jsm.streams.info(streamName(clusterId(from), partition));
        await this.root[to].query(
          `INSERT INTO drover.stream_position (source, partition, stream_created, stream_seq) VALUES ($1, $2, '', $3)
           ON CONFLICT (source, partition) DO UPDATE SET stream_seq = excluded.stream_seq`,
          [from, partition, state.last_seq],
        );
      }
    }
  }

  /** Messages of the tenant's partition that a reader would have published. */
  async publish(
    from: ClusterId,
    tenant: TenantId,
    count: number,
    headers?: Parameters<Bus['js']['publish']>[2],
  ) {
    const partition = partitionOf(tenant, PARTITIONS);
    for (let i = 0; i < count; i++) {
      await this.bus.js.publish(subjectOf(from, partition, tenantToken(tenant)), 'block', headers);
    }
  }

  /** What other services would observe: `kind` cannot work on the cluster. Ends with the signal. */
  async suffer(kind: string, cluster: Name, signals: Readonly<Record<string, string>>, signal: AbortSignal) {
    const observer = `${kind}-${cluster}`;
    while (!signal.aborted) {
      this.bus.nc.publish(`drover.health.${observer}`, JSON.stringify({ observer, kind, cluster, signals }));
      await sleep(200, signal);
    }
  }

  /** The service itself; `stop` is a shutdown. */
  async start(more: Partial<FailoverOptions> = {}): Promise<{ stop(): Promise<void> }> {
    const stop = new AbortController();
    const ready = deferred<void>();
    const ended = run({
      config: this.config,
      signal: stop.signal,
      metricsPort: 0,
      onReady: () => ready.resolve(),
      ...more,
    });
    ended.catch((error: unknown) => ready.reject(error));
    await ready.promise;
    const close = async () => {
      stop.abort();
      await ended;
    };
    this.#closer.add({ close });
    return { stop: close };
  }

  async waitFor<T>(
    what: string,
    probe: () => Promise<T | undefined | false>,
    timeoutMs = 90_000,
  ): Promise<T> {
    return until(async () => (await probe()) || undefined, {
      everyMs: 25,
      timeoutMs,
      onTimeout: () => new Error(`not within ${timeoutMs} ms: ${what}`),
    });
  }

  close(): Promise<void> {
    return this.#closer.close();
  }
}

/** Kills the leader when it gets to the failpoint. */
export const killedAt =
  (failpoint: string): Meets =>
  (name, leader) => {
    if (name !== failpoint) return;
    leader.kill();
    throw cancelled();
  };

export async function makeWorld(sections: Record<string, Record<string, unknown>> = {}): Promise<World> {
  const closer = new Closer();
  const servers = { east: await testPostgres(), west: await testPostgres({ settings: { work_mem: '5MB' } }) };
  const nats = await testNats();
  closer.add({ close: () => nats.stop() });
  const database = unique('app');
  const lines = {
    east: closer.add(await FaultProxy.start({ port: servers.east.port })),
    west: closer.add(await FaultProxy.start({ port: servers.west.port })),
  };
  const root = {} as Record<Name, PgPool>;
  for (const name of ['east', 'west'] as const) {
    const server = servers[name];
    const maker = await server.connect();
    await maker.query(`CREATE DATABASE "${database}"`);
    await preparedDatabase(server, { cluster: clusterId(name), sql: TABLES, database });
    const pool = new PgPool({ ...server.connection(database), max: 6 });
    root[name] = pool;
    closer.add({
      close: async () => {
        await pool.close();
        await maker.query('SELECT pg_drop_replication_slot($1)', [slotName(database)]);
        await maker.query(`DROP DATABASE "${database}" WITH (FORCE)`);
        await maker.end();
      },
    });
  }
  const bus = closer.add(await connectBus({ url: nats.url, name: 'test' }));
  for (const cluster of [EAST, WEST]) {
    for (let partition = 0; partition < PARTITIONS; partition++)
      await ensureStream(bus, { cluster, partition, replicas: 1, maxBytes: 1 << 24, maxAgeMs: 0 });
  }
  const catalog = closer.add(await openCatalog(bus, { replicas: 1 }));
  const level = process.env['DROVER_TEST_LOG'] === undefined ? 'error' : 'debug';
  const config = configFromParts({
    clusters: (['east', 'west'] as const).map((name) => ({
      name,
      host: '127.0.0.1',
      port: lines[name].port,
      databases: [database],
    })),
    sections: {
      nats: { url: nats.url, partitions: PARTITIONS },
      telemetry: { port: 0, log_level: level },
      ...sections,
      security: { secret: TEST_SECRET },
    },
  });
  return new World(closer, { nats, bus, catalog, database, servers, lines, root, config });
}
