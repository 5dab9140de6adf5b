/** For tests: a set-up source database, a NATS, a config for both, and a reader that can be started, killed and read back. */
import { type Bus, connectBus, consume, streamName } from '@drover/bus';
import type { Config } from '@drover/config';
import { clusterId, partitionOf, sleep, type TenantId, tenantId } from '@drover/core';
import { slotName } from '@drover/pg';
import { installDroverSchema } from '@drover/pg/schema/install.ts';
import { ensurePublication } from '@drover/pg/setup/publication.ts';
import { ensureRoles } from '@drover/pg/setup/roles.ts';
import { ensureSlot } from '@drover/pg/setup/slot.ts';
import {
  FaultProxy,
  ownPostgres,
  TEST_SECRET,
  type TestNats,
  type TestPostgres,
  testNats,
  testPassword,
  testPostgres,
} from '@drover/testkit';
import type pg from 'pg';
import { type ReadBlock, readBlock } from './capture/source-script.testing.ts';
import { type CdcOptions, run } from './main.ts';

export const EAST = clusterId('east');

const SCHEMA = `
  CREATE TABLE items (id int, tenant text, note text, PRIMARY KEY (tenant, id));
  CREATE TABLE accounts (aid int, tenant int, balance int, PRIMARY KEY (tenant, aid));
  CREATE TABLE countries (code text PRIMARY KEY, name text);
  ALTER TABLE items ALTER COLUMN note SET STORAGE EXTERNAL`;

export interface World {
  readonly postgres: TestPostgres;
  readonly nats: TestNats;
  readonly bus: Bus;
  readonly database: string;
  /** As the superuser. */
  readonly client: pg.Client;
  readonly proxy: FaultProxy | null;
  /** Of the second database, where there is one. */
  readonly second: pg.Client | null;
  readonly config: Config;
  /** The readers that were started and have not ended. */
  readonly running: Set<Running>;
  /** Stops what still runs first. */
  close(): Promise<void>;
}

export interface WorldOptions {
  readonly cdc?: Partial<Config['cdc']>;
  readonly nats?: Partial<Config['nats']>;
  readonly transform?: Config['transform'];
  readonly twoDatabases?: boolean;
  /** A server of its own with these settings, to be stopped, killed and changed. */
  readonly own?: Readonly<Record<string, string | number>>;
  /** The reader goes through a proxy that can fail. */
  readonly proxied?: boolean;
  /** Its slot is one that standbys take over. */
  readonly failoverSlot?: boolean;
}

async function prepare(
  postgres: TestPostgres,
  failover: boolean,
): Promise<{ database: string; client: pg.Client }> {
  const database = await postgres.createDatabase('cdc');
  const client = await postgres.connect(database);
  await client.query(SCHEMA);
  await ensureRoles(client, {
    drover_admin: testPassword('drover_admin'),
    drover_cdc: testPassword('drover_cdc'),
    drover_apply: testPassword('drover_apply'),
    drover_tenant: testPassword('drover_tenant'),
  });
  await installDroverSchema(client, { cluster: EAST, contextKey: Buffer.alloc(32, 1) });
  const tables = ['items', 'accounts', 'countries'].map((name) => ({ schema: 'public', name }));
  await ensurePublication(client, tables);
  await ensureSlot(client, slotName(database), { failover });
  return { database, client };
}

const WARN = { warnRetained: 4 * 1024 ** 3, warnSafeWal: 1024 ** 3, warnTimeLeftMs: 1_800_000 };

export async function makeWorld(options: WorldOptions = {}): Promise<World> {
  const postgres =
    options.own === undefined ? await testPostgres() : await ownPostgres({ settings: options.own });
  const proxy = options.proxied === true ? await FaultProxy.start({ port: postgres.port }) : null;
  const nats = await testNats();
  const { database, client } = await prepare(postgres, options.failoverSlot === true);
  const second = options.twoDatabases === true ? await prepare(postgres, false) : null;
  const databases = second === null ? [database] : [database, second.database];
  const bus = await connectBus({ url: nats.url, name: 'test' });
  const config = {
    file: undefined,
    nats: {
      url: nats.url,
      user: undefined,
      password: undefined,
      replicas: 1,
      partitions: 2,
      maxBytes: 64e6,
      maxAgeMs: 0,
      durability: 'nats-fsync',
      monitor: undefined,
      ...options.nats,
    },
    clusters: [
      {
        name: EAST,
        host: '127.0.0.1',
        port: proxy?.port ?? postgres.port,
        databases,
        sslmode: 'disable',
        setupUser: 'postgres',
        setupPassword: '',
      },
    ],
    security: { secret: TEST_SECRET },
    tiers: { standard: { weight: 1, replicas: 1 } },
    transform: options.transform ?? [],
    tagging: {
      mode: 'column',
      column: 'tenant',
      overrides: {},
      reference: ['public.countries'],
      exclude: [],
      schemaPrefix: '',
      databasePrefix: '',
    },
    cdc: {
      blockBytes: 64 * 1024,
      flushMs: 20,
      inFlightBytes: 4 << 20,
      heartbeatMs: 200,
      keyPatienceMs: 60_000,
      chunkBytes: 1 << 20,
      streamAboveBytes: 16 << 20,
      ...WARN,
      ...options.cdc,
    },
    telemetry: {
      host: '127.0.0.1',
      port: 0,
      topTenants: 5,
      otlpUrl: undefined,
      logLevel: process.env['DROVER_TEST_LOG'] === undefined ? 'error' : 'debug',
    },
  } as unknown as Config; // the sections this service does not read are left out
  const world: World = {
    postgres,
    nats,
    bus,
    database,
    client,
    proxy,
    second: second?.client ?? null,
    config,
    running: new Set(),
    close: async () => {
      await stopAll(world);
      await bus.close();
      await nats.stop();
      await proxy?.close();
      if (options.own !== undefined) {
        await client.end().catch(() => {});
        await postgres.stop();
        return;
      }
      for (const name of databases) {
        await client.query(
          `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1 AND NOT active`,
          [slotName(name)],
        );
      }
      await second?.client.end();
      await client.end();
    },
  };
  return world;
}

export interface Running {
  readonly ready: Promise<string>;
  /** Resolves when the reader has ended; to the error it ended with, if any. */
  readonly ended: Promise<unknown>;
  stop(): Promise<void>;
}

export function start(world: World, extra: Partial<CdcOptions> = {}): Running {
  const stop = new AbortController();
  const whenReady = Promise.withResolvers<string>();
  const ended = run({
    config: world.config,
    cluster: EAST,
    signal: stop.signal,
    onReady: (info) => whenReady.resolve(String(info['metricsUrl'])),
    ...extra,
  }).then(
    () => undefined,
    (error: unknown) => error,
  );
  const one: Running = {
    ready: whenReady.promise,
    ended,
    stop: async () => {
      stop.abort();
      await ended;
    },
  };
  world.running.add(one);
  void ended.then(() => world.running.delete(one));
  return one;
}

/** A reader that is ready, and where its metrics are. Rejects with the error it ended with before. */
export async function ready(
  world: World,
  extra: Partial<CdcOptions> = {},
): Promise<Running & { url: string }> {
  const one = start(world, extra);
  const url = await Promise.race([one.ready, one.ended.then((error) => Promise.reject(error))]);
  return { ...one, url };
}

export async function stopAll(world: World): Promise<void> {
  await Promise.all(Array.from(world.running, (one) => one.stop()));
}

/** Bytes of WAL that the reader's slot has not confirmed. */
export async function confirmedLag(world: World): Promise<number> {
  const { rows } = await world.client.query<{ lag: string }>(
    `SELECT pg_current_wal_lsn() - confirmed_flush_lsn AS lag FROM pg_replication_slots WHERE slot_name = $1`,
    [slotName(world.database)],
  );
  return Number(rows[0]?.lag);
}

/** Everything a partition's stream holds now. */
export async function readStream(world: World, partition: number): Promise<ReadBlock[]> {
  const info = await world.bus.jsm.streams.info(streamName(EAST, partition));
  const last = info.state.last_seq;
  const blocks: ReadBlock[] = [];
  if (last === 0) return blocks;
  const stop = new AbortController();
  for await (const message of consume(world.bus, {
    cluster: EAST,
    partition,
    startSeq: 1,
    signal: stop.signal,
  })) {
    blocks.push(readBlock(message.token, message.data));
    if (message.seq >= last) break;
  }
  stop.abort();
  return blocks;
}

/** A tenant's blocks, oldest first. */
export async function readTenant(world: World, tenant: string): Promise<ReadBlock[]> {
  const partition = partitionOf(tenantId(tenant) as TenantId, world.config.nats.partitions);
  return (await readStream(world, partition)).filter((block) => block.token === tenant);
}

/** Waits until the tenant's stream satisfies `enough`, and returns it. */
export async function tenantOnce(
  world: World,
  tenant: string,
  enough: (blocks: readonly ReadBlock[]) => boolean,
  timeoutMs = 90_000,
): Promise<ReadBlock[]> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const blocks = await readTenant(world, tenant).catch(() => []);
    if (enough(blocks)) return blocks;
    if (performance.now() > deadline) {
      throw new Error(
        `not in time: ${JSON.stringify(blocks, (_, v: unknown) => (typeof v === 'bigint' ? String(v) : v))}`,
      );
    }
    await sleep(50);
  }
}

/** Row and message records without the begins. */
export function changesOf(blocks: readonly ReadBlock[]): string[] {
  return blocks.flatMap((block) => block.records.filter((record) => !record.startsWith('begin')));
}

/** Fails unless each transaction of the tenant appears once, in order, its parts without a gap. */
export function checkOrder(blocks: readonly ReadBlock[]): void {
  let last = 0n;
  let open: { lsn: bigint; part: number } | null = null;
  for (const block of blocks) {
    if (open !== null) {
      if (block.lastLsn !== open.lsn || block.part !== open.part + 1)
        throw new Error(`part missing after ${open.lsn}.${open.part}`);
    } else if (block.firstLsn <= last || block.part !== 0) {
      throw new Error(`${block.firstLsn}.${block.part} after ${last}`);
    }
    const begins = block.records.filter((r) => r.startsWith('begin')).map((r) => BigInt(r.slice(6)));
    for (const [i, lsn] of begins.entries()) {
      if (i > 0 && lsn <= (begins[i - 1] as bigint))
        throw new Error(`transactions out of order in one block at ${lsn}`);
    }
    last = block.lastLsn;
    open = block.complete ? null : { lsn: block.lastLsn, part: block.part };
  }
}
