/**
 * For the tests of this service: two real clusters (databases of one server), a bus, and copies run directly. The capture and apply services are
 * not here: `standIn` plays the part of apply that a copy and a verification wait for. Tests with the real ones: test/chaos/copy-*.test.ts.
 */
import { type Bus, connectBus, ensureStream, onEvent } from '@drover/bus';
import { type Catalog, openCatalog, type Placement } from '@drover/catalog';
import { Closer, clusterId, sleep, type TenantId, tenantId, until } from '@drover/core';
import { originName, PgPool, slotName } from '@drover/pg';
import { createLogger } from '@drover/telemetry';
import {
  compareTables,
  FaultProxy,
  newTenant,
  preparedDatabase,
  type TestNats,
  type TestPostgres,
  testNats,
  testPostgres,
} from '@drover/testkit';
import type pg from 'pg';
import { type CopyContext, copyTenant } from './copy/copy-tenant.ts';

export const EAST = clusterId('east');
export const WEST = clusterId('west');
const TAGGING = {
  mode: 'column',
  column: 'tenant',
  overrides: {},
  reference: ['public.plan'],
  exclude: [],
  schemaPrefix: 'tenant_',
  databasePrefix: 'tenant_',
} as const;

export interface CopyProgress {
  readonly phase?: string;
  readonly table?: string;
  readonly rows?: number;
  readonly total?: number;
}

export interface Worker {
  stop(): Promise<void>;
}

export class CopyWorld {
  readonly bus: Bus;
  readonly nats: TestNats;
  readonly catalog: Catalog;
  readonly server: TestPostgres;
  /** As the superuser. */
  readonly source: pg.Client;
  readonly target: pg.Client;
  readonly context: CopyContext;
  /** Between the service and the source. */
  readonly link: FaultProxy;
  /** What copies said, in order. */
  readonly told: CopyProgress[] = [];
  readonly #closer: Closer;
  readonly #slot: string;

  private constructor(
    parts: Pick<
      CopyWorld,
      'bus' | 'nats' | 'catalog' | 'server' | 'source' | 'target' | 'context' | 'link'
    > & {
      closer: Closer;
      slot: string;
    },
  ) {
    this.bus = parts.bus;
    this.nats = parts.nats;
    this.catalog = parts.catalog;
    this.server = parts.server;
    this.source = parts.source;
    this.target = parts.target;
    this.context = parts.context;
    this.link = parts.link;
    this.#closer = parts.closer;
    this.#slot = parts.slot;
    this.#closer.add(onEvent(this.bus, 'copy.progress', (_kind, fields) => void this.told.push(fields)));
  }

  /** `sql` makes the tables of both; `there` those of the target, when they are to differ. */
  static async start(sql: string, there = sql): Promise<CopyWorld> {
    const closer = new Closer();
    const server = await testPostgres();
    const nats = await testNats();
    closer.add({ close: () => nats.stop() });
    const names = { east: await server.createDatabase('east'), west: await server.createDatabase('west') };
    const source = await server.connect(names.east);
    const target = await server.connect(names.west);
    await source.query(sql);
    await target.query(there);
    for (const cluster of [EAST, WEST]) {
      const database = names[cluster as 'east' | 'west'];
      await preparedDatabase(server, {
        cluster,
        database,
        tagging: TAGGING,
        origins: [0, 1].map((slot) => originName('copy', slot)),
      });
    }
    closer.add({
      close: async () => {
        await source.end();
        await target.end();
        const root = await server.connect();
        await root.query(
          'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = ANY ($1)',
          [Object.values(names)],
        );
        for (const name of Object.values(names)) await root.query(`DROP DATABASE "${name}" WITH (FORCE)`);
        await root.end();
      },
    });
    const bus = closer.add(await connectBus({ url: nats.url, name: 'test' }));
    await ensureStream(bus, { cluster: EAST, partition: 0, replicas: 1, maxBytes: 1 << 24, maxAgeMs: 0 });
    const catalog = closer.add(await openCatalog(bus, { replicas: 1 }));
    const link = closer.add(await FaultProxy.start({ port: server.port }));
    const pools = new Map<string, PgPool>();
    closer.add({ close: async () => void (await Promise.all([...pools.values()].map((p) => p.close()))) });
    const poolOf = (role: string) => (cluster: string) => {
      const key = `${role}/${cluster}`;
      const pool =
        pools.get(key) ??
        new PgPool({
          ...server.connection(names[cluster as 'east' | 'west'], role),
          ...(cluster === 'east' ? { port: link.port } : {}),
        });
      pools.set(key, pool);
      return pool;
    };
    const context: CopyContext = {
      bus,
      catalog,
      log: createLogger({
        service: 'migration',
        level: process.env['DROVER_TEST_LOG'] === undefined ? 'error' : 'debug',
      }),
      tagging: TAGGING,
      partitions: 1,
      chunkRows: 10,
      admin: poolOf('drover_admin'),
      apply: poolOf('drover_apply'),
      signal: new AbortController().signal,
      onRows: () => undefined,
    };
    return new CopyWorld({
      bus,
      nats,
      catalog,
      server,
      source,
      target,
      context,
      link,
      closer,
      slot: slotName(names.east),
    });
  }

  /** A tenant that east serves; its replica at west is to be copied. */
  async tenant(name: string, replica: 'copying' | 'live' = 'copying'): Promise<TenantId> {
    const tenant = tenantId(name);
    await this.source.query('SELECT drover.open_tenant($1, 1)', [tenant]);
    if (replica === 'live') {
      await this.target.query(`SELECT drover.follow_tenant($1, 1, 'east', 'live', NULL, NULL, NULL)`, [
        tenant,
      ]);
    }
    await this.catalog.createTenant(...newTenant(tenant, { west: replica }));
    return tenant;
  }

  copy(tenant: TenantId, more: Partial<CopyContext> = {}, slot = 0): Promise<void> {
    return copyTenant({ ...this.context, ...more }, tenant, WEST, slot);
  }

  /** Asks for the copy once more, as `--anew` does. */
  async anew(tenant: TenantId): Promise<void> {
    await this.change(tenant, (p) => ({
      ...p,
      replicas: { ...p.replicas, west: { state: 'copying', since: new Date().toISOString() } },
    }));
  }

  change(tenant: TenantId, fn: (placement: Placement) => Placement): Promise<Placement> {
    return this.catalog.changePlacement(tenant, fn);
  }

  async stateOf(tenant: TenantId): Promise<string | undefined> {
    return (await this.catalog.getPlacement(tenant))?.value.replicas['west']?.state;
  }

  /** The copy's own record at the target. */
  async record(tenant: TenantId): Promise<Record<string, unknown>> {
    return (await this.target.query('SELECT * FROM drover.copy WHERE tenant = $1', [tenant])).rows[0] ?? {};
  }

  async row(tenant: TenantId): Promise<Record<string, unknown> | undefined> {
    const { rows } = await this.target.query(
      `SELECT feed, reason, stream_seq::int, lenient_until::text, commit_lsn::text FROM drover.tenant WHERE tenant = $1`,
      [tenant],
    );
    return rows[0];
  }

  /** Moves the end of the stream by one message. */
  async publish(): Promise<number> {
    return (await this.bus.js.publish('drover.cdc.east.0.other', new Uint8Array(1))).seq;
  }

  /** Says that a replica in `catchup` has reached its barrier; `before` may do what apply does on the way. */
  standIn(before: (tenant: string) => Promise<void> = async () => undefined): Worker {
    return this.#loop(async () => {
      const { rows } = await this.target.query<{ tenant: string }>(
        `SELECT tenant FROM drover.tenant WHERE feed = 'catchup' AND commit_lsn IS NULL`,
      );
      for (const { tenant } of rows) {
        await before(tenant);
        await this.target.query(
          `UPDATE drover.tenant SET feed = 'live', commit_lsn = lenient_until + 1 WHERE tenant = $1 AND feed = 'catchup'`,
          [tenant],
        );
      }
    });
  }

  /** Holds a replica at the barriers of verifications, as they come out of the WAL; of the first `unseen` of them it goes on at once. */
  holdAtBarriers(before: () => Promise<void> = async () => undefined, unseen = 0): Worker {
    let passed = 0;
    return this.#loop(async () => {
      const { rows } = await this.source.query<{ data: Buffer }>(
        `SELECT data FROM pg_logical_slot_get_binary_changes($1, NULL, NULL, 'proto_version', '1', 'publication_names', 'drover',
           'messages', 'true')`,
        [this.#slot],
      );
      for (const { data } of rows) {
        const found = /\{"tenant":"([^"]+)","id":"(behind-)?(verify-[^"]+)"/.exec(data.toString('latin1'));
        if (found === null) continue;
        const [, tenant, behind, id] = found;
        if (passed < unseen) {
          if (behind === undefined) continue;
          passed++;
          await this.target.query(
            'UPDATE drover.tenant SET commit_lsn = pg_current_wal_insert_lsn() WHERE tenant = $1',
            [tenant],
          );
          continue;
        }
        if (behind !== undefined) continue;
        await before();
        await this.target.query(
          `UPDATE drover.tenant SET feed = 'held', reason = 'pause:' || $2 WHERE tenant = $1`,
          [tenant, id],
        );
      }
    });
  }

  async same(tables: readonly string[], tenant: TenantId): Promise<void> {
    const where = (t: string) => (t === 'plan' ? 'true' : `tenant = '${tenant}'`);
    const differences = await compareTables(this.source, this.target, tables, where);
    if (differences.length > 0) throw new Error(JSON.stringify(differences).slice(0, 2000));
  }

  async count(client: pg.Client, table: string, tenant: string): Promise<number> {
    const { rows } = await client.query<{ n: number }>(
      `SELECT count(*)::int AS n FROM ${table} WHERE tenant = $1`,
      [tenant],
    );
    return rows[0]?.n ?? 0;
  }

  waitFor(what: string, probe: () => Promise<boolean>): Promise<boolean> {
    return until(async () => (await probe()) || undefined, {
      everyMs: 20,
      timeoutMs: 90_000,
      onTimeout: () => new Error(`not within 90 s: ${what}`),
    });
  }

  close(): Promise<void> {
    return this.#closer.close();
  }

  #loop(work: () => Promise<void>): Worker {
    const stop = new AbortController();
    const ended = (async () => {
      while (!stop.signal.aborted) {
        await work();
        await sleep(10, stop.signal);
      }
    })();
    ended.catch(() => undefined); // seen by stop()
    return {
      stop: async () => {
        stop.abort();
        await ended;
      },
    };
  }
}
