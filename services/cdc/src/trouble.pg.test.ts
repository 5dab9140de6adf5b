/** The reader when what it stands on fails, is taken away or is not its own: it waits, says so or stops, and the streams stay whole. */
import { openPublisher, streamName } from '@drover/bus';
import { sleep } from '@drover/core';
import { slotName } from '@drover/pg';
import { afterEach, describe, expect, it } from 'vitest';
import { eventually, readyz, statusOf } from './status.testing.ts';
import {
  changesOf,
  checkOrder,
  confirmedLag,
  EAST,
  makeWorld,
  readStream,
  ready,
  start,
  tenantOnce,
  type World,
  type WorldOptions,
} from './world.testing.ts';

let world: World;

async function setUp(options: WorldOptions = {}): Promise<World> {
  world = await makeWorld(options);
  return world;
}

afterEach(() => world.close());

async function walEnd(): Promise<string> {
  const { rows } = await world.client.query<{ lsn: string }>('SELECT pg_current_wal_lsn()::text AS lsn');
  return rows[0]?.lsn ?? '';
}

async function confirmedBeyond(lsn: string): Promise<boolean | undefined> {
  const { rows } = await world.client.query<{ beyond: boolean }>(
    `SELECT confirmed_flush_lsn >= $2::pg_lsn AS beyond FROM pg_replication_slots WHERE slot_name = $1`,
    [slotName(world.database), lsn],
  );
  return rows[0]?.beyond;
}

describe('trouble', () => {
  it('a full stream holds the reader back, and nothing is missing when it is raised', async () => {
    const { client } = await setUp({
      nats: { maxBytes: 200_000, partitions: 1 },
      cdc: { inFlightBytes: 200_000 },
    });
    const one = await ready(world);
    for (let i = 0; i < 60; i++) {
      await client.query(
        `INSERT INTO items SELECT $1 * 1000 + j, 'acme', gen_random_uuid()::text FROM generate_series(1, 200) j`,
        [i],
      );
    }
    await eventually('not ready', async () => (await readyz(one.url)).text.includes('full'));
    const { config } = await world.bus.jsm.streams.info(streamName(EAST, 0));
    await world.bus.jsm.streams.update(streamName(EAST, 0), { ...config, max_bytes: 64e6 });
    const blocks = await tenantOnce(world, 'acme', (all) => changesOf(all).length >= 12_000);
    checkOrder(blocks);
    expect(new Set(changesOf(blocks)).size).toBe(12_000);
    await eventually('confirmed', async () => (await confirmedLag(world)) < 100_000);
  });

  it('a bus that dies and comes back under load loses nothing', async () => {
    const { client, nats } = await setUp();
    const one = await ready(world);
    let written = 0;
    const write = async () => {
      for (let n = 0; n < 40; n++)
        await client.query(`INSERT INTO items VALUES ($1, 'acme', 'a')`, [++written]);
    };
    await write();
    await nats.kill9();
    await write();
    await eventually('told', async () => (await readyz(one.url)).status === 503);
    await nats.restart();
    await write();
    const blocks = await tenantOnce(world, 'acme', (b) => changesOf(b).length >= written);
    checkOrder(blocks);
    expect(changesOf(blocks)).toHaveLength(written);
    await eventually('ready again', async () => (await readyz(one.url)).status === 200);
  });

  it('of two readers one waits, and takes over', async () => {
    const { client } = await setUp();
    const first = await ready(world);
    let secondReady = false;
    const second = start(world, { onReady: () => (secondReady = true) });
    await client.query(`INSERT INTO items VALUES (1, 'acme', 'a')`);
    await tenantOnce(world, 'acme', (b) => b.length === 1);
    expect(secondReady).toBe(false);
    await first.stop();
    await client.query(`INSERT INTO items VALUES (2, 'acme', 'b')`);
    checkOrder(await tenantOnce(world, 'acme', (b) => changesOf(b).length === 2));
    await eventually('it says so', async () => secondReady);
    await second.stop();
  });

  it('a stranger in the stream ends the reader: bus.fenced', async () => {
    await setUp();
    const one = await ready(world);
    const stranger = await openPublisher(world.bus, { cluster: EAST, partition: 0 });
    const lsn = 1n as never;
    await Promise.race([
      stranger
        .publishGroup(
          [
            {
              token: 'acme',
              block: Buffer.from('x'),
              id: '1.1.acme.1.0',
              lastLsn: lsn,
              part: 0,
              complete: true,
            },
          ],
          lsn,
        )
        .catch(() => {}),
      one.ended,
    ]);
    // Whoever was first wins; the other must stop, and the stream has one history.
    let error: unknown;
    void one.ended.then((reason) => {
      error = reason;
    });
    await eventually('one is fenced', async () => error !== undefined || stranger.state() === 'fenced');
    if (error !== undefined) expect(error).toMatchObject({ code: 'bus.fenced' });
    await stranger.close();
  });

  it('a slot dropped by hand is told, and the process stays', async () => {
    const { client } = await setUp();
    const one = await ready(world);
    const slot = slotName(world.database);
    await client.query(
      `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1`,
      [slot],
    );
    await eventually('dropped', async () => {
      const { rows } = await client
        .query(
          `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1 AND NOT active`,
          [slot],
        )
        .catch(() => ({ rows: [] }));
      await client.query(
        `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND active`,
        [slot],
      );
      return rows.length > 0;
    });
    await eventually('told', async () => (await statusOf(world))?.code === 'pg.slot_missing');
    expect(await statusOf(world)).toMatchObject({ state: 'failed', code: 'pg.slot_missing' });
    expect((await readyz(one.url)).text).toContain('slot');
    expect((await fetch(`${one.url}/livez`)).status).toBe(200);
  });

  it('a stream that lost everything is not filled again in silence: bus.recreated', async () => {
    const { client, bus } = await setUp();
    const one = await ready(world);
    await client.query(`INSERT INTO items VALUES (1, 'acme', 'a')`);
    await tenantOnce(world, 'acme', (b) => b.length === 1);
    const written = await walEnd();
    await eventually('confirmed', async () => (await confirmedBeyond(written)) === true);
    await one.stop();
    await bus.jsm.streams.delete(streamName(EAST, 1));
    const another = start(world);
    await eventually('told', async () => (await statusOf(world))?.code === 'bus.recreated');
    await another.stop();
  });

  it('a database that was not set up is refused by name', async () => {
    const { client } = await setUp();
    await client.query('DROP PUBLICATION drover');
    const error = await start(world).ended;
    expect(error).toMatchObject({
      code: 'pg.not_set_up',
      message: expect.stringContaining('publication "drover"'),
    });
  });

  it('a source that goes away and comes back is read on', async () => {
    const { client } = await setUp();
    const one = await ready(world);
    for (let i = 0; i < 5; i++) {
      await client.query(`INSERT INTO items VALUES ($1, 'acme', 'a')`, [i]);
      await client.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'drover_cdc' AND datname = $1`,
        [world.database],
      );
    }
    const blocks = await tenantOnce(world, 'acme', (b) => changesOf(b).length >= 5);
    checkOrder(blocks);
    expect(changesOf(blocks)).toHaveLength(5);
    await eventually('ready again', async () => (await readyz(one.url)).status === 200);
  });

  it('stops promptly at any moment of its start', async () => {
    await setUp();
    for (let i = 0; i < 25; i++) {
      const one = start(world);
      await sleep(i * 4);
      const outcome = await Promise.race([one.stop().then(() => 'stopped'), sleep(30_000)]);
      expect(outcome, `after ${i * 4} ms`).toBe('stopped');
      expect(await one.ended).toBeUndefined();
    }
  });

  it('heartbeats reach every partition', async () => {
    await setUp();
    await ready(world);
    for (const partition of [0, 1]) {
      await eventually('heartbeat', async () =>
        (await readStream(world, partition)).some((b) => b.token === '_heartbeat'),
      );
    }
  });
});
