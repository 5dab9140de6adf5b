/** The reader against real PostgreSQL and NATS: what the source committed is what the streams hold, once and in order. */
import { openPublisher, streamName } from '@drover/bus';
import { sleep } from '@drover/core';
import { emitBarrier, slotName } from '@drover/pg';
import { afterEach, describe, expect, it } from 'vitest';
import { eventually, readyz, statusOf } from './status.testing.ts';
import {
  changesOf,
  checkOrder,
  EAST,
  makeWorld,
  type Running,
  readStream,
  readTenant,
  start,
  tenantOnce,
  type World,
  type WorldOptions,
} from './world.testing.ts';

let world: World;
let running: Running[] = [];

async function setUp(options: WorldOptions = {}): Promise<World> {
  world = await makeWorld(options);
  return world;
}

function begin(extra: Parameters<typeof start>[1] = {}): Running {
  const one = start(world, extra);
  running.push(one);
  return one;
}

async function ready(extra: Parameters<typeof start>[1] = {}): Promise<Running & { url: string }> {
  const one = begin(extra);
  const url = await Promise.race([one.ready, one.ended.then((error) => Promise.reject(error))]);
  return { ...one, url };
}

afterEach(async () => {
  await Promise.all(running.map((one) => one.stop()));
  running = [];
  await world.close();
});

async function confirmedLag(): Promise<number> {
  const { rows } = await world.client.query<{ lag: string }>(
    `SELECT pg_current_wal_lsn() - confirmed_flush_lsn AS lag FROM pg_replication_slots WHERE slot_name = $1`,
    [slotName(world.database)],
  );
  return Number(rows[0]?.lag);
}

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

describe('capture', () => {
  it('publishes what three tenants and the reference table committed', async () => {
    const { client } = await setUp();
    await ready();
    await client.query(`BEGIN;
      INSERT INTO items VALUES (1, 'acme', 'a'), (1, 'bolt', 'b');
      INSERT INTO accounts VALUES (1, 7, 100);
      INSERT INTO countries VALUES ('ch', 'Switzerland');
      COMMIT`);
    await client.query(`UPDATE items SET note = 'c' WHERE tenant = 'acme'`);
    await client.query(`DELETE FROM items WHERE tenant = 'acme'`);
    await client.query(`ROLLBACK; BEGIN; INSERT INTO items VALUES (9, 'acme', 'never'); ROLLBACK`);
    const acme = await tenantOnce(world, 'acme', (blocks) => changesOf(blocks).length === 3);
    const one = '0x00000001';
    expect(changesOf(acme)).toEqual([
      `+items ${one},0x61636d65,0x61`,
      `~items ${one},0x61636d65,0x63`,
      `-items K:${one},0x61636d65,·`,
    ]);
    checkOrder(acme);
    expect(acme[0]).toMatchObject({ epoch: 0, part: 0, complete: true });
    expect(changesOf(await tenantOnce(world, 'bolt', (b) => b.length > 0))).toEqual([
      `+items ${one},0x626f6c74,0x62`,
    ]);
    expect(changesOf(await tenantOnce(world, '7', (b) => b.length > 0))).toEqual([
      `+accounts ${one},0x00000007,0x00000064`,
    ]);
    expect(changesOf(await tenantOnce(world, '_shared', (b) => b.length > 0))).toHaveLength(1);
    // One source transaction has one commit LSN in every tenant's share.
    const lsns = await Promise.all(
      ['acme', 'bolt', '7', '_shared'].map(async (t) => (await readTenant(world, t))[0]?.firstLsn),
    );
    expect(new Set(lsns).size).toBe(1);
  });

  it('moves a row between tenants, unchanged columns and all where the whole old row is known', async () => {
    const { client } = await setUp();
    await client.query('ALTER TABLE items REPLICA IDENTITY FULL');
    await ready();
    const big = 'x'.repeat(10_000);
    await client.query(`INSERT INTO items VALUES (1, 'acme', $1)`, [big]);
    await client.query(`UPDATE items SET tenant = 'bolt'`);
    const bolt = changesOf(await tenantOnce(world, 'bolt', (b) => b.length > 0));
    expect(bolt).toEqual([`+items 0x00000001,0x626f6c74,0x${Buffer.from(big).toString('hex')}`]);
    const acme = changesOf(await tenantOnce(world, 'acme', (b) => changesOf(b).length > 1));
    expect(acme[1]).toMatch(/^-items O:/);
  });

  it('carries barriers and epochs at their place, blocks never mixing epochs', async () => {
    const { client } = await setUp();
    await ready();
    await client.query(`INSERT INTO items VALUES (1, 'acme', 'a')`);
    await client.query('SET ROLE drover_admin');
    await client.query(`SELECT drover.open_tenant('acme', 3)`);
    await client.query('RESET ROLE');
    await client.query(`INSERT INTO items VALUES (2, 'acme', 'b')`);
    await emitBarrier(client, { tenant: 'acme', id: 'b1' });
    const blocks = await tenantOnce(world, 'acme', (all) => changesOf(all).some((c) => c.includes('b1')));
    const seen = blocks.flatMap((b) =>
      changesOf([b]).map((c) => `${b.epoch} ${c.replace(/^(\S+ \S+).*/, '$1').slice(0, 24)}`),
    );
    expect(seen).toEqual([
      '0 +items 0x00000001,0x6163',
      '3 message drover.epoch',
      '3 +items 0x00000002,0x6163',
      '3 message drover.barrier',
    ]);
  });

  it('confirms while nothing is captured, so that the WAL of other tables does not pile up', async () => {
    // What is confirmed is what a record, written with each heartbeat, knows of.
    const { client } = await setUp({ cdc: { heartbeatMs: 15_000 } });
    await ready();
    await client.query('CREATE TABLE noise (x text)');
    await client.query(`INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 5000)`);
    await eventually('confirmed', async () => (await confirmedLag()) < 100_000);
  });

  // Smaller than what comes before it has committed.
  it('cuts a large transaction into parts and keeps memory bounded', async () => {
    const { client } = await setUp({ cdc: { inFlightBytes: 1 << 20 } });
    await ready({ partBytes: 100_000 });
    await client.query(
      `INSERT INTO items SELECT i, CASE WHEN i % 2 = 0 THEN 'acme' ELSE 'bolt' END, repeat('y', 200) FROM generate_series(1, 8000) i`,
    );
    for (const tenant of ['acme', 'bolt']) {
      const blocks = await tenantOnce(world, tenant, (all) => all.at(-1)?.complete === true);
      expect(blocks.length).toBeGreaterThan(8);
      checkOrder(blocks);
      expect(new Set(changesOf(blocks)).size).toBe(4000);
      expect(changesOf(blocks)).toHaveLength(4000);
    }
  });
});

describe('killed at any point', () => {
  it.each(['before-publish', 'after-publish', 'after-ack', 'before-confirm'] as const)(
    '%s, each transaction appears once',
    async (name) => {
      const { client } = await setUp();
      await ready().then((one) => one.stop());
      const write = async (from: number) => {
        for (let i = from; i < from + 10; i++) {
          await client.query(
            `INSERT INTO items SELECT $1, t, repeat('z', 50) FROM unnest(ARRAY['acme','bolt','coil','dart']) t`,
            [i],
          );
        }
        await client.query(
          `INSERT INTO items SELECT $1 * 1000 + i, 'acme', repeat('w', 100) FROM generate_series(1, 100) i`,
          [from],
        );
      };
      for (let round = 0; round < 4; round++) {
        await write(round * 10 + 1);
        let left = round * 3 + 1;
        const killed = begin({
          partBytes: 2000,
          failpoint: (point) => {
            if (point === name && --left <= 0) throw new Error('killed');
          },
        });
        expect(String(await killed.ended)).toContain('killed');
      }
      await ready({ partBytes: 2000 });
      await emitBarrier(client, { tenant: 'acme', id: 'end' });
      const acme = await tenantOnce(world, 'acme', (all) => changesOf(all).some((c) => c.includes('"end"')));
      checkOrder(acme);
      const rows = changesOf(acme).filter((c) => c.startsWith('+'));
      expect(rows).toHaveLength(440);
      expect(new Set(rows).size).toBe(440);
      for (const tenant of ['bolt', 'coil', 'dart']) {
        const blocks = await tenantOnce(world, tenant, (all) => changesOf(all).length >= 40);
        checkOrder(blocks);
        expect(changesOf(blocks)).toHaveLength(40);
      }
    },
  );
});

describe('two databases of one cluster', () => {
  it('share the streams, and each resumes where it was', async () => {
    const { client, second } = await setUp({ twoDatabases: true, nats: { partitions: 1 } });
    const clients = second === null ? [client] : [client, second];
    let n = 0;
    for (let round = 0; round < 5; round++) {
      for (const one of clients) {
        for (let i = 0; i < 5 + round; i++) {
          await one.query(`INSERT INTO countries VALUES ($1, 'x')`, [String(++n)]);
          await one.query(`INSERT INTO items VALUES ($1, 'acme', 'x')`, [n]);
        }
      }
      let left = round + 2;
      const killed = begin({
        failpoint: () => {
          if (--left <= 0) throw new Error('killed');
        },
      });
      expect(String(await killed.ended)).toContain('killed');
    }
    await ready();
    for (const tenant of ['_shared', 'acme']) {
      const blocks = await tenantOnce(world, tenant, (all) => changesOf(all).length >= n);
      expect(changesOf(blocks)).toHaveLength(n);
      expect(new Set(changesOf(blocks)).size).toBe(n);
      for (const database of new Set(blocks.map((b) => b.database))) {
        checkOrder(blocks.filter((b) => b.database === database));
      }
    }
  });
});

describe('trouble', () => {
  it('a full stream holds the reader back, and nothing is missing when it is raised', async () => {
    const { client } = await setUp({
      nats: { maxBytes: 200_000, partitions: 1 },
      cdc: { inFlightBytes: 200_000 },
    });
    const one = await ready();
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
    await eventually('confirmed', async () => (await confirmedLag()) < 100_000);
  });

  it('a bus that dies and comes back under load loses nothing', async () => {
    const { client, nats } = await setUp();
    const one = await ready();
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
    const first = await ready();
    let secondReady = false;
    const second = begin({ onReady: () => (secondReady = true) });
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
    const one = await ready();
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
    const one = await ready();
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
    const one = await ready();
    await client.query(`INSERT INTO items VALUES (1, 'acme', 'a')`);
    await tenantOnce(world, 'acme', (b) => b.length === 1);
    const written = await walEnd();
    await eventually('confirmed', async () => (await confirmedBeyond(written)) === true);
    await one.stop();
    await bus.jsm.streams.delete(streamName(EAST, 1));
    const another = begin();
    await eventually('told', async () => (await statusOf(world))?.code === 'bus.recreated');
    await another.stop();
  });

  it('a database that was not set up is refused by name', async () => {
    const { client } = await setUp();
    await client.query('DROP PUBLICATION drover');
    const error = await begin().ended;
    expect(error).toMatchObject({
      code: 'pg.not_set_up',
      message: expect.stringContaining('publication "drover"'),
    });
  });

  it('a source that goes away and comes back is read on', async () => {
    const { client } = await setUp();
    const one = await ready();
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
      const one = begin();
      await sleep(i * 4);
      const outcome = await Promise.race([one.stop().then(() => 'stopped'), sleep(30_000)]);
      expect(outcome, `after ${i * 4} ms`).toBe('stopped');
      expect(await one.ended).toBeUndefined();
    }
  });

  it('heartbeats reach every partition', async () => {
    await setUp();
    await ready();
    for (const partition of [0, 1]) {
      await eventually('heartbeat', async () =>
        (await readStream(world, partition)).some((b) => b.token === '_heartbeat'),
      );
    }
  });
});
