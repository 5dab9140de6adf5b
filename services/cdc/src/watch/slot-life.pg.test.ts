/**
 * A slot in danger, and one that is gone: told before it happens, told with its reason when it has, never looped over and never passed over in
 * silence (pitfalls 7, 12 to 17, 19).
 */
import { slotName } from '@drover/pg';
import type pg from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import { eventually, metric, readyz, statusOf } from '../status.testing.ts';
import {
  changesOf,
  checkOrder,
  makeWorld,
  ready,
  start,
  tenantOnce,
  type World,
  type WorldOptions,
} from '../world.testing.ts';

let world: World;

async function setUp(options: WorldOptions): Promise<World> {
  world = await makeWorld(options);
  return world;
}

afterEach(() => world.close());

/** WAL that nobody captures. */
async function wal(client: pg.Client, megabytes: number): Promise<void> {
  await client.query('CREATE TABLE IF NOT EXISTS elsewhere (x text)');
  for (let i = 0; i < megabytes; i++)
    await client.query(
      `INSERT INTO elsewhere SELECT repeat(md5(i::text), 32) FROM generate_series(1, 950) i`,
    );
  await client.query('TRUNCATE elsewhere');
}

async function held(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ n: string }>(
    'SELECT max(pg_current_wal_lsn() - confirmed_flush_lsn)::text AS n FROM pg_replication_slots',
  );
  return Number(rows[0]?.n);
}

async function confirmed(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ n: string }>(
    `SELECT max(confirmed_flush_lsn - '0/0')::text AS n FROM pg_replication_slots`,
  );
  return Number(rows[0]?.n);
}

describe('a slot', () => {
  it('is confirmed on while the captured tables are idle and others are written (12)', async () => {
    const { client } = await setUp({ own: {} });
    await ready(world);
    for (let i = 0; i < 3; i++) {
      await wal(client, 4);
      await eventually('confirmed', async () => (await held(client)) < 100_000);
    }
  });

  it('of a full bus is warned of, kept through timeouts, and lost in the end: told why, and not looped (14, 17)', async () => {
    const { client } = await setUp({
      own: {
        wal_sender_timeout: '3s',
        max_slot_wal_keep_size: '64MB',
        wal_keep_size: 0,
        min_wal_size: '32MB',
      },
      nats: { maxBytes: 200_000 },
      cdc: { inFlightBytes: 1 << 20, warnRetained: 8 << 20, warnSafeWal: 48 << 20 },
    });
    const one = await ready(world);
    const pids = async () =>
      (
        await client.query<{ pid: number }>(
          `SELECT pid FROM pg_stat_replication WHERE application_name = 'drover cdc'`,
        )
      ).rows;
    const before = await pids();
    await client.query(
      `INSERT INTO items SELECT i, 'acme', (SELECT string_agg(md5(random()::text || g || i), '') FROM generate_series(1, 30) g) FROM generate_series(1, 4000) i`,
    );
    await eventually('full', async () => /bus is full/.test((await readyz(one.url)).text));
    const asked = async () =>
      (
        await client.query<{ at: Date | null }>(
          `SELECT max(reply_time) AS at FROM pg_stat_replication WHERE application_name = 'drover cdc'`,
        )
      ).rows[0]?.at?.getTime() ?? 0;
    await eventually('the first answer', async () => (await asked()) > 0);
    const since = await asked();
    await eventually('three timeouts are over', async () => (await asked()) > since + 9000);
    expect(await pids()).toEqual(before);
    await wal(client, 30);
    await eventually('warned of', async () =>
      /warning: slot \S+ keeps \d+ MiB of WAL[\s\S]*warning: slot \S+ is invalidated when .* MiB more/.test(
        (await readyz(one.url)).text,
      ),
    );
    expect(await metric(one.url, 'drover_cdc_slot_retained_bytes')).toBeGreaterThan(20e6);
    expect(await metric(one.url, 'drover_cdc_slot_safe_wal_bytes')).toBeLessThan(50e6);
    expect(await metric(one.url, 'drover_cdc_slot_warnings')).toBe(2);
    await wal(client, 60);
    await client.query('CHECKPOINT');
    await wal(client, 20);
    await client.query('CHECKPOINT');
    await eventually('told', async () =>
      /invalidated \(wal_removed\): .*max_slot_wal_keep_size/.test((await readyz(one.url)).text),
    );
    await eventually('failed', async () => (await statusOf(world))?.code === 'pg.slot_lost');
    expect((await statusOf(world))?.reason).toMatch(/invalidated: wal_removed.*drover setup --resync/);
    const { rows } = await client.query(`SELECT wal_status FROM pg_replication_slots`);
    expect(rows).toEqual([{ wal_status: 'lost' }]); // nobody has dropped it, or made another
  });

  it('that nobody read for too long is told with its reason (19)', async () => {
    const { client } = await setUp({ own: { idle_replication_slot_timeout: '1s' } });
    const one = await ready(world);
    await one.stop();
    await eventually('invalidated', async () => {
      await client.query('CHECKPOINT'); // looks at the slots
      const { rows } = await client.query<{ status: string }>(
        'SELECT wal_status AS status FROM pg_replication_slots',
      );
      return rows[0]?.status === 'lost';
    });
    start(world);
    await eventually('told', async () => (await statusOf(world))?.code === 'pg.slot_lost');
    expect((await statusOf(world))?.reason).toMatch(/idle_timeout/);
  });

  it('that other hands dropped and made again is not read on (7)', async () => {
    const { client, database } = await setUp({});
    const one = await ready(world);
    await client.query(`INSERT INTO items VALUES (1, 'acme', 'before')`);
    await tenantOnce(world, 'acme', (b) => changesOf(b).length === 1);
    await one.stop();
    await client.query('SELECT pg_drop_replication_slot($1)', [slotName(database)]);
    await client.query(`INSERT INTO items VALUES (2, 'acme', 'within')`);
    await client.query(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, [slotName(database)]);
    await client.query(`INSERT INTO items VALUES (3, 'acme', 'after')`);
    start(world);
    await eventually('told', async () => (await statusOf(world))?.code === 'pg.slot_recreated');
    expect(changesOf(await tenantOnce(world, 'acme', () => true))).toHaveLength(1);
  });

  it('of a server that was killed is read on, whatever it forgot of what was confirmed (9)', async () => {
    const { client, postgres, database } = await setUp({ own: { fsync: 'on' } });
    await ready(world);
    await client.end();
    const rounds = process.env['DROVER_FULL'] === '1' ? 5 : 2;
    for (let round = 0; round < rounds; round++) {
      const writer = await postgres.connect(database);
      for (let i = 0; i < 40; i++)
        await writer.query(`INSERT INTO items VALUES ($1, 'acme', 'x')`, [round * 100 + i]);
      postgres.server.kill9();
      await postgres.server.exited;
      await postgres.restart();
    }
    const blocks = await tenantOnce(world, 'acme', (b) => changesOf(b).length >= rounds * 40, 120_000);
    checkOrder(blocks);
    expect(changesOf(blocks)).toHaveLength(rounds * 40);
  });
});

describe('a connection', () => {
  it.each([
    ['both ways', 'both', '1s'],
    ['from the source only (16)', 'toClient', '1s'],
    ['to the source only', 'toServer', '1s'],
  ] as const)('that goes silent %s is given up, and made again', async (_, direction, timeout) => {
    const { client, proxy } = await setUp({
      own: { wal_sender_timeout: timeout, tcp_keepalives_idle: 1 },
      proxied: true,
    });
    const one = await ready(world);
    await client.query(`INSERT INTO items VALUES (1, 'acme', 'a')`);
    await tenantOnce(world, 'acme', (b) => changesOf(b).length === 1);
    proxy?.blackhole(direction);
    await eventually('noticed', async () => (await readyz(one.url)).status === 503);
    proxy?.reset();
    proxy?.pass();
    await client.query(`INSERT INTO items VALUES (2, 'acme', 'b')`);
    const blocks = await tenantOnce(world, 'acme', (b) => changesOf(b).length >= 2);
    checkOrder(blocks);
    expect(changesOf(blocks)).toHaveLength(2);
    await eventually('ready', async () => (await readyz(one.url)).status === 200);
  });

  it('without a timeout of the server is kept, without a storm of new ones (15)', async () => {
    const { client, proxy } = await setUp({ own: { wal_sender_timeout: 0 }, proxied: true });
    await ready(world);
    const accepted = proxy?.accepted;
    for (let i = 0; i < 3; i++) {
      const before = await confirmed(client);
      await eventually('confirmed on', async () => (await confirmed(client)) > before);
    }
    expect(proxy?.accepted).toBe(accepted);
    await client.query(`INSERT INTO items VALUES (1, 'acme', 'a')`);
    await tenantOnce(world, 'acme', (b) => changesOf(b).length === 1);
  });
});
