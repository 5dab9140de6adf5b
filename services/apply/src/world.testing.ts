/**
 * For the tests of this service: a source and a target database, a bus, and a small stand-in for the capture service that reads the
 * source's real pgoutput and publishes real blocks.
 */
import { type Bus, connectBus, ensureStream, openPublisher, type Publisher } from '@drover/bus';
import { type Config, configFromParts } from '@drover/config';
import { clusterId, until } from '@drover/core';
import type { PgMajor } from '@drover/local';
import { slotName } from '@drover/pg';
import {
  compareTables,
  ownPostgres,
  preparedDatabase,
  TEST_SECRET,
  type TestNats,
  type TestPostgres,
  testNats,
  testPostgres,
} from '@drover/testkit';
import type pg from 'pg';
import { Capture, type CaptureOptions } from './capture.testing.ts';
import { type ApplyOptions, run } from './main.ts';

/** Set DROVER_TEST_PG to run these tests on another major version. */
const MAJOR = Number(process.env['DROVER_TEST_PG'] ?? 18) as PgMajor;

export const EAST = clusterId('east');
export const WEST = clusterId('west');

export interface Running {
  stop(): Promise<void>;
  readonly ended: Promise<void>;
}

export interface World {
  readonly source: pg.Client;
  readonly target: pg.Client;
  readonly bus: Bus;
  readonly nats: TestNats;
  readonly partitions: number;
  /** Publishes what was committed at the source since the last call. */
  capture(options?: CaptureOptions): Promise<void>;
  start(options?: Partial<ApplyOptions>): Promise<Running>;
  tenant(name: string, feed?: string): Promise<void>;
  row(name: string): Promise<Record<string, unknown>>;
  /** From now on: which tenants were held at the target, for which reason, however shortly. */
  notesHeld(): Promise<() => Promise<ReadonlySet<string>>>;
  ledger(): Promise<Record<string, unknown>[]>;
  /** Waits until everything that was captured has been dealt with by the main lane and no tenant is in a lane of its own. */
  settled(): Promise<void>;
  same(tables: readonly string[], where?: string): Promise<void>;
  waitFor(what: string, probe: () => Promise<boolean>, timeoutMs?: number): Promise<void>;
  /** SIGKILL of the target's postmaster, which is its own (`ownTarget`); back when `meanwhile` is over. */
  crashTarget(meanwhile: () => Promise<unknown>): Promise<void>;
  close(): Promise<void>;
}

export async function makeWorld(
  sql: string,
  options: { partitions?: number; ownTarget?: boolean; batchBytes?: number } = {},
): Promise<World> {
  const server = await testPostgres({ major: MAJOR });
  const targetServer = options.ownTarget === true ? await ownPostgres({ major: MAJOR }) : server;
  const nats = await testNats();
  const partitions = options.partitions ?? 2;
  const [east, west] = [await server.createDatabase('east'), await targetServer.createDatabase('west')];
  const source = await server.connect(east);
  let target = await targetServer.connect(west);
  await source.query(sql);
  await target.query(sql);
  await preparedDatabase(server, { cluster: EAST, database: east });
  await preparedDatabase(targetServer, { cluster: WEST, database: west });
  const bus = await connectBus({ url: nats.url, name: 'test' });
  const config = configOf({ east: server, west: targetServer }, nats, {
    east,
    west,
    partitions,
    batchBytes: options.batchBytes ?? 4 * 1024 * 1024,
  });
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
    get target() {
      return target;
    },
    bus,
    nats,
    partitions,
    capture: (o = {}) => reader.run(o),
    async start(more = {}) {
      const stop = new AbortController();
      const ready = Promise.withResolvers<void>();
      const onReady = (info: Readonly<Record<string, unknown>>): void => {
        more.onReady?.(info);
        ready.resolve();
      };
      const ended = run({ config, cluster: WEST, signal: stop.signal, metricsPort: 0, ...more, onReady });
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
    async notesHeld() {
      await target.query(`
        CREATE TABLE public.was_held (tenant text, reason text);
        CREATE FUNCTION public.note_held() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN INSERT INTO public.was_held VALUES (NEW.tenant, NEW.reason); RETURN NULL; END $$;
        CREATE TRIGGER note_held AFTER UPDATE ON drover.tenant FOR EACH ROW WHEN (NEW.feed = 'held') EXECUTE FUNCTION public.note_held();
        ALTER TABLE drover.tenant ENABLE ALWAYS TRIGGER note_held`);
      return async () => {
        const { rows } = await target.query<{ held: string }>(
          `SELECT tenant || ' ' || reason AS held FROM public.was_held`,
        );
        return new Set(rows.map(({ held }) => held));
      };
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
    waitFor: (what, probe, timeoutMs = 60_000) =>
      until(async () => ((await probe()) ? true : undefined), {
        everyMs: 20,
        timeoutMs,
        onTimeout: () => new Error(`not within ${timeoutMs} ms: ${what}`),
      }).then(() => undefined),
    async crashTarget(meanwhile) {
      targetServer.server.kill9();
      await targetServer.server.exited;
      await target.end().catch(() => undefined);
      await meanwhile();
      await targetServer.restart();
      target = await targetServer.connect(west);
    },
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
      if (targetServer !== server) await targetServer.stop();
      for (const name of targetServer === server ? [east, west] : [east])
        await root.query(`DROP DATABASE "${name}" WITH (FORCE)`);
      await root.end();
      await nats.stop();
    },
  };
  return world;
}

function configOf(
  servers: { east: TestPostgres; west: TestPostgres },
  nats: TestNats,
  options: { east: string; west: string; partitions: number; batchBytes: number },
): Config {
  const level = process.env['DROVER_TEST_LOG'] === undefined ? 'error' : 'debug';
  return configFromParts({
    clusters: (['east', 'west'] as const).map((name) => ({
      name,
      host: '127.0.0.1',
      port: servers[name].port,
      databases: [options[name]],
    })),
    sections: {
      nats: { url: nats.url, partitions: options.partitions },
      security: { secret: TEST_SECRET },
      tiers: { gold: { weight: 4 } },
      apply: { batch_bytes: options.batchBytes },
      telemetry: { port: 0, log_level: level },
    },
  });
}
