/**
 * For the tests of this service: a source and a target database, a bus, and a small stand-in for the capture service that reads the
 * source's real pgoutput and publishes real blocks.
 */
import { BlockWriter, type Relation } from '@drover/block';
import {
  type Bus,
  connectBus,
  ensureStream,
  HEARTBEAT_TOKEN,
  openPublisher,
  type Publisher,
} from '@drover/bus';
import { type Config, parseConfig } from '@drover/config';
import {
  clusterId,
  type Epoch,
  LSN_ZERO,
  type Lsn,
  partitionOf,
  tenantId,
  tenantToken,
  until,
} from '@drover/core';
import type { PgMajor } from '@drover/local';
import { PUBLICATION, parsePgoutput, setupCluster, slotName } from '@drover/pg';
import {
  compareTables,
  TEST_SECRET,
  type TestNats,
  type TestPostgres,
  testNats,
  testPassword,
  testPostgres,
} from '@drover/testkit';
import type pg from 'pg';
import { mergeTuples } from './changes/tuple.ts';
import { type ApplyOptions, run } from './main.ts';

/** Set DROVER_TEST_PG to run these tests on another major version. */
const MAJOR = Number(process.env['DROVER_TEST_PG'] ?? 18) as PgMajor;

export const EAST = clusterId('east');
export const WEST = clusterId('west');
const CONTEXT_KEY = Buffer.alloc(32, 7);

export interface Running {
  stop(): Promise<void>;
  readonly ended: Promise<void>;
}

export interface CaptureOptions {
  /** Raw bytes after which a transaction is cut into parts. */
  readonly partBytes?: number;
  /** Every transaction in a block of its own. */
  readonly single?: boolean;
  readonly epoch?: number;
  /** Whose a TRUNCATE is: the real capture service publishes it only where a table is one tenant's. */
  readonly truncateTenant?: string;
}

export interface World {
  readonly source: pg.Client;
  readonly target: pg.Client;
  readonly bus: Bus;
  readonly partitions: number;
  /** Publishes what was committed at the source since the last call. */
  capture(options?: CaptureOptions): Promise<void>;
  start(options?: Partial<ApplyOptions>): Promise<Running>;
  tenant(name: string, feed?: string): Promise<void>;
  row(name: string): Promise<Record<string, unknown>>;
  ledger(): Promise<Record<string, unknown>[]>;
  /** Waits until everything that was captured has been dealt with by the main lane and no tenant is in a lane of its own. */
  settled(): Promise<void>;
  same(tables: readonly string[], where?: string): Promise<void>;
  waitFor(what: string, probe: () => Promise<boolean>): Promise<void>;
  close(): Promise<void>;
}

export async function makeWorld(
  sql: string,
  options: { partitions?: number; targetSql?: string } = {},
): Promise<World> {
  const server = await testPostgres({ major: MAJOR });
  const nats = await testNats();
  const partitions = options.partitions ?? 2;
  const [east, west] = [await server.createDatabase('east'), await server.createDatabase('west')];
  const source = await server.connect(east);
  const target = await server.connect(west);
  await source.query(sql);
  await target.query(options.targetSql ?? sql);
  await setup(server, EAST, east);
  await setup(server, WEST, west);
  const bus = await connectBus({ url: nats.url, name: 'test' });
  const config = configOf(server, nats, { east, west, partitions });
  const publishers: Publisher[] = [];
  for (let partition = 0; partition < partitions; partition++) {
    await ensureStream(bus, {
      cluster: EAST,
      partition,
      replicas: 1,
      maxBytes: 1 << 30,
      maxAgeMs: 86_400_000,
    });
    publishers.push(await openPublisher(bus, { cluster: EAST, partition }));
  }
  const reader = new Capture(source, { slot: slotName(east), database: west, publishers });
  const runs: Running[] = [];
  const world: World = {
    source,
    target,
    bus,
    partitions,
    capture: (o = {}) => reader.run(o),
    async start(more = {}) {
      const stop = new AbortController();
      const ready = Promise.withResolvers<void>();
      const ended = run({
        config,
        cluster: WEST,
        signal: stop.signal,
        metricsPort: 0,
        onReady: () => ready.resolve(),
        ...more,
      });
      ended.catch(ready.reject);
      await ready.promise;
      const running = {
        ended,
        stop: async () => {
          stop.abort();
          await ended;
        },
      };
      runs.push(running);
      return running;
    },
    async tenant(name, feed = 'live') {
      await source.query('SELECT drover.open_tenant($1, 1)', [name]);
      await target.query(`SELECT drover.follow_tenant($1, 1, 'east', $2, NULL, NULL, NULL)`, [name, feed]);
    },
    async row(name) {
      const { rows } = await target.query(
        'SELECT feed, reason, commit_lsn::text, stream_seq::int, epoch::int FROM drover.tenant WHERE tenant = $1',
        [name],
      );
      return rows[0] as Record<string, unknown>;
    },
    async ledger() {
      return (await target.query('SELECT * FROM drover.ledger ORDER BY id')).rows as Record<
        string,
        unknown
      >[];
    },
    async settled() {
      await world.waitFor('everything is dealt with', async () => {
        const { rows } = await target.query(
          `SELECT (SELECT count(*) FROM drover.tenant WHERE feed = 'catchup')::int AS lanes,
            coalesce((SELECT json_object_agg(partition, stream_seq) FROM drover.stream_position), '{}') AS at`,
        );
        const at = rows[0].at as Record<string, number>;
        for (let p = 0; p < partitions; p++) {
          const info = await bus.jsm.streams.info(`DROVER_CDC_east_${p}`);
          if ((at[p] ?? 0) < info.state.last_seq) return false;
        }
        return rows[0].lanes === 0;
      });
    },
    async same(tables, where) {
      const differences = await compareTables(source, target, tables, where);
      if (differences.length > 0)
        throw new Error(
          JSON.stringify(differences, (_, v) => (typeof v === 'string' ? v.slice(-60) : v), 1).slice(0, 1500),
        );
    },
    waitFor: (what, probe) =>
      until(async () => ((await probe()) ? true : undefined), {
        everyMs: 20,
        timeoutMs: 20_000,
        onTimeout: () => new Error(`not within 20 s: ${what}`),
      }).then(() => undefined),
    async close() {
      for (const running of runs) await running.stop().catch(() => undefined);
      for (const publisher of publishers) await publisher.close();
      await bus.close();
      await source.end();
      await target.end();
      const root = await server.connect();
      await root.query(
        'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = ANY ($1)',
        [[east, west]],
      );
      for (const name of [east, west]) await root.query(`DROP DATABASE "${name}" WITH (FORCE)`);
      await root.end();
      await nats.stop();
    },
  };
  return world;
}

function setup(server: TestPostgres, cluster: typeof EAST, database: string): Promise<unknown> {
  const roles = ['drover_admin', 'drover_cdc', 'drover_apply', 'drover_tenant'] as const;
  return setupCluster({
    cluster,
    databases: [database],
    connect: (name) => server.connect(name),
    passwords: Object.fromEntries(roles.map((role) => [role, testPassword(role)])) as Record<
      (typeof roles)[number],
      string
    >,
    contextKey: CONTEXT_KEY,
    tagging: {
      mode: 'column',
      column: 'tenant',
      overrides: {},
      reference: [],
      exclude: [],
      schemaPrefix: 't_',
      databasePrefix: 't_',
    },
    origins: [],
    failoverSlots: false,
  });
}

function configOf(
  server: TestPostgres,
  nats: TestNats,
  names: { east: string; west: string; partitions: number },
): Config {
  const cluster = (name: string, database: string): string => `
[[clusters]]
name = "${name}"
host = "127.0.0.1"
port = ${server.port}
databases = ["${database}"]
sslmode = "disable"
setup_user = "postgres"
setup_password = "x"
`;
  const secret = TEST_SECRET.padEnd(32, '.');
  const config = parseConfig(
    `[nats]\nurl = "${nats.url}"\npartitions = ${names.partitions}\n[security]\nsecret = "${secret}"\n${cluster('east', names.east)}${cluster('west', names.west)}`,
    'test.toml',
    {},
  );
  const level = process.env['DROVER_TEST_LOG'] === undefined ? 'error' : 'debug';
  // The shared server's roles have the passwords of the test secret, which is shorter than a real one may be.
  return {
    ...config,
    security: { secret: TEST_SECRET },
    telemetry: { ...config.telemetry, port: 0, logLevel: level },
  };
}

type Row = { lsn: Lsn; add: (writer: BlockWriter, relation: (oid: number) => number) => void; size: number };

/** Reads the slot through SQL and publishes one group per partition. */
class Capture {
  readonly #source: pg.Client;
  readonly #slot: string;
  /** A tenant's database has one name on all clusters; here both live on one server, so blocks carry the target's. */
  readonly #database: string;
  readonly #publishers: readonly Publisher[];
  readonly #relations = new Map<number, Relation>();

  constructor(source: pg.Client, to: { slot: string; database: string; publishers: readonly Publisher[] }) {
    this.#source = source;
    this.#slot = to.slot;
    this.#database = to.database;
    this.#publishers = to.publishers;
  }

  async run(options: CaptureOptions): Promise<void> {
    const { rows } = await this.#source.query<{ data: Buffer }>(
      `SELECT data FROM pg_logical_slot_get_binary_changes($1, NULL, NULL, 'proto_version', '1', 'publication_names', $2,
        'messages', 'true', 'origin', 'none', 'binary', 'true')`,
      [this.#slot, PUBLICATION],
    );
    type Tx = { lsn: Lsn; time: bigint; changes: Row[] };
    const byTenant = new Map<string, Tx[]>();
    let lsn: Lsn = LSN_ZERO;
    let time = 0n;
    const push = (tenant: string, add: Row['add'], size: number): void => {
      const list = byTenant.get(tenant) ?? [];
      byTenant.set(tenant, list);
      if (list.at(-1)?.lsn !== lsn) list.push({ lsn, time, changes: [] });
      list.at(-1)!.changes.push({ lsn, add, size });
    };
    for (const { data } of rows) {
      parsePgoutput(data, 0, data.length, {
        begin: (l, t) => {
          lsn = l;
          time = t;
        },
        commit: () => undefined,
        relation: (oid, relation) => void this.#relations.set(oid, relation),
        type: () => undefined,
        origin: () => undefined,
        insert: (oid, start, end, bytes) =>
          push(this.#tenant(oid, bytes, start), (w, r) => w.insert(r(oid), bytes, start, end), end - start),
        update: (oid, kind, os, oe, ns, ne, bytes) => {
          const now = this.#tenant(oid, bytes, ns);
          const was = kind === null ? now : this.#tenant(oid, bytes, os);
          if (was === now)
            push(now, (w, r) => w.update(r(oid), kind, bytes, os, oe, ns, ne), oe - os + ne - ns);
          else {
            push(was, (w, r) => w.delete(r(oid), kind!, bytes, os, oe), oe - os);
            // As the capture service does: what the new row leaves unchanged stands in the old one.
            const row = mergeTuples({ bytes, start: ns, end: ne }, { bytes, start: os, end: oe });
            push(now, (w, r) => w.insert(r(oid), row.bytes, row.start, row.end), row.end);
          }
        },
        delete: (oid, kind, start, end, bytes) =>
          push(
            this.#tenant(oid, bytes, start),
            (w, r) => w.delete(r(oid), kind, bytes, start, end),
            end - start,
          ),
        truncate: (oids, flags) => {
          const tenant = options.truncateTenant;
          if (tenant !== undefined) push(tenant, (w, r) => w.truncate(oids.map(r), flags), 10);
        },
        message: (_t, l, prefix, start, end, bytes) => {
          const content = bytes.subarray(start, end);
          const { tenant } = JSON.parse(content.toString()) as { tenant?: string };
          push(
            tenant === undefined || tenant === '*' ? HEARTBEAT_TOKEN : tenant,
            (w) => w.message(l, prefix, content),
            50,
          );
        },
      });
    }
    for (const [tenant, list] of byTenant) await this.#publish(tenant, list, options);
  }

  #tenant(oid: number, bytes: Buffer, start: number): string {
    const relation = this.#relations.get(oid)!;
    const index = relation.columns.findIndex((c) => c.name === 'tenant');
    let at = start + 2;
    for (let i = 0; ; i++) {
      const kind = String.fromCharCode(bytes[at]!);
      const length = kind === 'n' || kind === 'u' ? 0 : bytes.readInt32BE(at + 1);
      if (i === index) return bytes.toString('utf8', at + 5, at + 5 + length);
      at += kind === 'n' || kind === 'u' ? 1 : 5 + length;
    }
  }

  async #publish(
    tenant: string,
    list: { lsn: Lsn; time: bigint; changes: Row[] }[],
    options: CaptureOptions,
  ): Promise<void> {
    const heartbeat = tenant === HEARTBEAT_TOKEN;
    const token = heartbeat ? tenant : tenantToken(tenantId(tenant));
    const partitions = heartbeat
      ? this.#publishers.map((_, i) => i)
      : [partitionOf(tenantId(tenant), this.#publishers.length)];
    for (const partition of partitions) {
      let writer = new BlockWriter();
      let first: Lsn | undefined;
      let last: Lsn = LSN_ZERO;
      let at = 0n;
      const flush = async (part: number, complete: boolean): Promise<void> => {
        if (first === undefined) return;
        const block = writer.finish({
          source: EAST,
          database: this.#database,
          tenant: token as never,
          epoch: (options.epoch ?? 1) as Epoch,
          systemId: '42',
          generation: 1,
          firstLsn: first,
          lastLsn: last,
          part,
          complete,
          commitTimeUs: at,
        });
        const id = `42.1.${token}.${first.toString(16)}.${part}.${partition}`;
        await this.#publishers[partition]!.publishGroup(
          [{ token, block, id, lastLsn: last, part, complete }],
          LSN_ZERO,
        );
        writer = new BlockWriter();
        first = undefined;
      };
      for (const tx of list) {
        let part = 0;
        const begin = (): void => {
          first ??= tx.lsn;
          last = tx.lsn;
          at = tx.time;
          writer.begin(tx.lsn, tx.time, 1);
        };
        const size = tx.changes.reduce((sum, c) => sum + c.size, 0);
        const big = options.partBytes !== undefined && size > options.partBytes;
        if (big || options.single === true) await flush(0, true);
        begin();
        for (const [i, change] of tx.changes.entries()) {
          change.add(writer, (oid) => writer.relation(this.#relations.get(oid)!));
          if (big && writer.size > options.partBytes! && i < tx.changes.length - 1) {
            await flush(part++, false);
            begin();
          }
        }
        if (big) await flush(part, true);
      }
      await flush(0, true);
    }
  }
}
