/** The reader against real PostgreSQL and NATS: what the source committed is what the streams hold, once and in order. */
import { emitBarrier, slotName } from '@drover/pg';
import { afterEach, describe, expect, it } from 'vitest';
import { eventually } from './status.testing.ts';
import {
  changesOf,
  checkOrder,
  confirmedLag,
  makeWorld,
  readTenant,
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

describe('capture', () => {
  it('publishes what three tenants and the reference table committed', async () => {
    const { client } = await setUp();
    await ready(world);
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
    await ready(world);
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
    await ready(world);
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
    await ready(world);
    await client.query('CREATE TABLE noise (x text)');
    await client.query(`INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 5000)`);
    await eventually('confirmed', async () => (await confirmedLag(world)) < 100_000);
  });

  it('publishes what came in chunks at its commit, as it stands then', async () => {
    const { client } = await setUp({ cdc: { chunkBytes: 64 * 1024 } });
    await ready(world);
    const rows = (tenant: string, from: number) =>
      `INSERT INTO items SELECT i, '${tenant}', repeat('y', 200) FROM generate_series(${from}, ${from + 999}) i;`;
    await client.query(
      `BEGIN; SET LOCAL stats_fetch_consistency = none; ${rows('acme', 1)} SAVEPOINT s; ${rows('acme', 1001)} ROLLBACK TO s;`,
    );
    await client.query(rows('acme', 2001));
    await client.query(`SELECT pg_logical_emit_message(true, 'somebody.else', 'x')`);
    const streamed = `SELECT stream_count > 1 AS yes FROM pg_stat_replication_slots WHERE slot_name = $1`;
    await eventually('streamed', async () => {
      const { rows: found } = await client.query<{ yes: boolean }>(streamed, [slotName(world.database)]);
      return found[0]?.yes === true;
    });
    expect(await readTenant(world, 'acme')).toEqual([]);
    await client.query(`${rows('bolt', 1)} COMMIT`);
    await client.query(`INSERT INTO items VALUES (1, 'last', 'x')`);
    await tenantOnce(world, 'last', (all) => all.length > 0);
    for (const [tenant, count] of [
      ['acme', 2000],
      ['bolt', 1000],
    ] as const) {
      const blocks = await readTenant(world, tenant);
      checkOrder(blocks);
      expect(blocks.every(({ firstLsn, complete }) => firstLsn > 0n && complete)).toBe(true);
      const ids = changesOf(blocks).map((change) => Number(/^\+items (0x[0-9a-f]+)/.exec(change)?.[1]));
      expect(ids).toEqual(Array.from({ length: count }, (_, i) => (i < 1000 ? i + 1 : i + 1001)));
    }
  });

  // Smaller than what comes in chunks.
  it('cuts a large transaction into parts and keeps memory bounded', async () => {
    const { client } = await setUp({ cdc: { inFlightBytes: 1 << 20, chunkBytes: 16 << 20 } });
    await ready(world, { partBytes: 100_000 });
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
      await ready(world).then((one) => one.stop());
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
        const killed = start(world, {
          partBytes: 2000,
          failpoint: (point) => {
            if (point === name && --left <= 0) throw new Error('killed');
          },
        });
        expect(String(await killed.ended)).toContain('killed');
      }
      await ready(world, { partBytes: 2000 });
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
      const killed = start(world, {
        failpoint: () => {
          if (--left <= 0) throw new Error('killed');
        },
      });
      expect(String(await killed.ended)).toContain('killed');
    }
    await ready(world);
    for (const tenant of ['_shared', 'acme']) {
      const blocks = await tenantOnce(world, tenant, (all) => changesOf(all).length >= n);
      expect(changesOf(blocks)).toHaveLength(n);
      expect(new Set(changesOf(blocks)).size).toBe(n);
      for (const database of new Set(blocks.map((b) => b.database))) {
        checkOrder(blocks.filter((b) => b.database === database));
      }
    }
  });

  it('one of them taken out: the other goes on where it was, not where that one was', async () => {
    const { client, second, config } = await setUp({ twoDatabases: true, nats: { partitions: 1 } });
    const databases = config.clusters[0]?.databases ?? [];
    const capturing = (names: readonly string[]) =>
      start({
        ...world,
        config: { ...config, clusters: config.clusters.map((c) => ({ ...c, databases: names })) },
      });
    const published = (n: number) => tenantOnce(world, 'acme', (all) => new Set(changesOf(all)).size >= n);
    const insert = (one: typeof client | null, id: number) =>
      one?.query(`INSERT INTO items VALUES ($1, 'acme', 'x')`, [id]);
    const both = capturing(databases);
    await insert(client, 1);
    await insert(second, 2);
    await published(2);
    await both.stop();
    // The first is behind, the second is not; both are on one server, and their positions in one WAL.
    await insert(client, 3);
    await insert(second, 4);
    const one = capturing(databases.slice(1));
    await published(3);
    await one.stop();
    const other = capturing(databases.slice(0, 1));
    expect(changesOf(await published(4))).toHaveLength(4);
    await other.stop();
  });
});
