/** Transactions that come before they have committed, with the real reader and the real apply (pitfalls 49, 50, 51, 53). */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { StreamedWorld } from './streamed-world.ts';

let world: StreamedWorld;

beforeAll(async () => {
  world = await StreamedWorld.start(8);
  await world.both();
});
afterAll(() => world?.close());
beforeEach(() => world.empty());

const rows = (tenant: string, from: number, count: number, width = 10) =>
  `INSERT INTO doc SELECT '${tenant}', g, 0, repeat(md5(g::text), ${width}) FROM generate_series(${from}, ${from + count - 1}) g`;

describe('a transaction in progress', () => {
  test('is written before it has committed, and seen only afterwards', async () => {
    const { source } = world;
    await source.query('BEGIN');
    await source.query(rows('t0', 1, 5000));
    await world.waitFor('it is kept open', async () => (await world.keptOpen()) === 1);
    expect(await world.count()).toBe(0);
    await source.query('COMMIT');
    await world.equal();
    expect(await world.count()).toBe(5000);
    await world.waitFor('nothing is kept open', async () => (await world.keptOpen()) === 0);
  });

  test('that is rolled back leaves nothing, and lets go of its locks', async () => {
    const { source, target } = world;
    await source.query(rows('t0', 1, 10));
    await world.equal();
    await source.query('BEGIN');
    await source.query(`UPDATE doc SET n = 7 WHERE tenant = 't0'`);
    await source.query(rows('t0', 100, 5000));
    await world.waitFor('it is kept open', async () => (await world.keptOpen()) === 1);
    await source.query('ROLLBACK');
    await world.waitFor('it is let go of', async () => (await world.keptOpen()) === 0);
    await target.query(`SET lock_timeout = '20s'; SELECT FROM doc FOR UPDATE; RESET lock_timeout`);
    await source.query(`UPDATE doc SET n = n + 1 WHERE tenant = 't0'`);
    await world.equal();
  });

  test('of many tenants is seen of each wholly or not at all', async () => {
    const { source, target } = world;
    await source.query('BEGIN');
    for (let i = 0; i < 40; i++) await source.query(rows(`t${i % 8}`, 1 + i * 100, 100));
    await source.query(`UPDATE doc SET n = id WHERE id % 3 = 0`);
    await source.query(`DELETE FROM doc WHERE id % 7 = 0`);
    const seen: string[] = [];
    const watch = async (): Promise<boolean> => {
      const { rows: found } = await target.query<{ tenant: string; n: number }>(
        'SELECT tenant, count(*)::int AS n FROM doc GROUP BY 1',
      );
      for (const { tenant, n } of found) seen.push(`${tenant} ${n}`);
      return found.length === 8;
    };
    const { rows: whole } = await source.query<{ tenant: string; n: number }>(
      'SELECT tenant, count(*)::int AS n FROM doc GROUP BY 1',
    );
    await source.query('COMMIT');
    await world.waitFor('all are there', watch);
    const allowed = new Set(whole.map(({ tenant, n }) => `${tenant} ${n}`));
    expect(seen.filter((one) => !allowed.has(one))).toEqual([]);
    await world.equal();
  });

  /** With more subtransactions than are kept open, the transaction is read again at its commit. */
  test.each([0, 100])('keeps of its subtransactions what was kept', async (more) => {
    const { source } = world;
    await source.query('BEGIN');
    for (let i = 0; i < more; i++)
      await source.query(`SAVEPOINT m; ${rows('t3', 10_000 + i * 10, 10)}; RELEASE m`);
    await source.query(rows('t0', 1, 500));
    await source.query('SAVEPOINT a');
    await source.query(rows('t0', 1000, 500));
    await source.query(`UPDATE doc SET n = n + 1 WHERE id < 300`);
    await source.query('SAVEPOINT b');
    await source.query(rows('t1', 2000, 500));
    await source.query(`DELETE FROM doc WHERE id < 100`);
    await source.query('ROLLBACK TO b');
    await source.query(rows('t2', 3000, 500));
    await source.query('RELEASE a');
    await source.query('SAVEPOINT c');
    await source.query(rows('t0', 4000, 500));
    await source.query('SAVEPOINT d');
    await source.query(rows('t0', 5000, 500));
    await source.query('RELEASE d');
    await source.query(rows('t1', 5500, 500));
    await source.query('ROLLBACK TO c');
    await source.query(`UPDATE doc SET n = n + 10 WHERE id % 2 = 0`);
    await source.query(rows('t1', 6000, 500));
    await source.query('COMMIT');
    await world.equal();
    expect(await world.count()).toBe(2000 + more * 10);
  });

  test('with a thousand exceptions, as functions catch them', async () => {
    const { source } = world;
    await source.query(`DO $$
      BEGIN
        FOR i IN 1..1000 LOOP
          BEGIN
            INSERT INTO doc SELECT 't' || (i % 4), i * 10 + g, i, repeat(md5(i::text), 5) FROM generate_series(1, 5) g;
            IF i % 3 = 0 THEN RAISE EXCEPTION 'no'; END IF;
          EXCEPTION WHEN raise_exception THEN
            INSERT INTO line VALUES ('t0', 'refused ' || i);
          END;
        END LOOP;
      END $$`);
    await world.equal();
    expect(await world.count()).toBe(667 * 5);
  });

  test('beside another and many small ones, each in its place', async () => {
    const { source } = world;
    const others = await Promise.all([1, 2].map(() => world.failover.servers.east.connect('app')));
    const small = await world.failover.servers.east.connect('app');
    await source.query(rows('t0', 1, 400));
    const long = others.map(async (client, k) => {
      await client.query('BEGIN');
      for (let i = 0; i < 15; i++) {
        await client.query(rows(`t${k}`, 10_000 * (k + 1) + i * 200, 200));
        await client.query(`UPDATE doc SET n = n + 1 WHERE tenant = 't0' AND id % 2 = ${k} AND id <= 400`);
        if (i % 5 === 4)
          await client.query(
            `SAVEPOINT s; DELETE FROM doc WHERE tenant = 't${k}' AND id > 10000; ROLLBACK TO s`,
          );
      }
      await client.query(k === 0 ? 'COMMIT' : 'ROLLBACK');
    });
    let going = true;
    const many = (async () => {
      for (let i = 0; going; i++) {
        await small.query(rows(`t${i % 4}`, 100_000 + i * 3, 3, 1));
        await small.query(
          `UPDATE doc SET n = n + 1 WHERE tenant = 't${i % 4}' AND id >= 100000 AND id > ${100_000 + i * 3 - 60}`,
        );
      }
    })();
    await Promise.all(long);
    going = false;
    await many;
    await world.equal();
    await Promise.all([...others, small].map((client) => client.end()));
  });

  test('leaves values out of line as they are', async () => {
    const { source } = world;
    await source.query(rows('t0', 1, 20, 300)); // 9600 bytes each
    await world.equal();
    await source.query('BEGIN');
    await source.query(rows('t0', 100, 20, 300));
    await source.query(`UPDATE doc SET n = 5 WHERE tenant = 't0'`);
    await source.query(`UPDATE doc SET id = id + 1000 WHERE tenant = 't0' AND id BETWEEN 105 AND 110`);
    await source.query(`INSERT INTO line SELECT 't0', repeat('x', 100) FROM generate_series(1, 500)`);
    await source.query(`DELETE FROM line WHERE ctid IN (SELECT ctid FROM line LIMIT 250)`);
    await source.query('COMMIT');
    await world.equal();
  });

  test('that moves rows from one tenant to another', async () => {
    const { source } = world;
    await source.query(rows('t0', 1, 1000));
    await source.query(
      `BEGIN; UPDATE doc SET tenant = 't1' WHERE id % 2 = 0; UPDATE doc SET tenant = 't2' WHERE id % 4 = 0; COMMIT`,
    );
    await world.equal();
    expect(await world.count(`tenant = 't2'`)).toBe(250);
  });

  test('holds locks of no subtransaction that the source has rolled back', async () => {
    const { source } = world;
    const other = await world.failover.servers.east.connect('app');
    await source.query(rows('t0', 1, 500));
    await world.equal();
    await source.query('BEGIN');
    await source.query(rows('t0', 1000, 1000));
    await source.query('SAVEPOINT s');
    await source.query(`UPDATE doc SET n = 1 WHERE tenant = 't0' AND id <= 500`);
    await source.query(rows('t0', 3000, 1000));
    await world.waitFor('it is kept open', async () => (await world.keptOpen()) === 1);
    await source.query('ROLLBACK TO s');
    await other.query(`UPDATE doc SET n = 2 WHERE tenant = 't0' AND id <= 500`);
    await world.waitFor('the other is there', async () => (await world.count('n = 2')) === 500);
    await source.query(rows('t0', 5000, 1000));
    await source.query('COMMIT');
    await world.equal();
    await other.end();
  });

  test('that changes the schema is asked for as a whole', async () => {
    const { source } = world;
    await source.query('BEGIN');
    await source.query(rows('t0', 1, 1000));
    await source.query('ALTER TABLE doc ADD COLUMN extra int');
    await source.query(
      `INSERT INTO doc (tenant, id, extra) SELECT 't0', g, g FROM generate_series(2000, 3000) g`,
    );
    await source.query('SAVEPOINT s; ALTER TABLE doc ADD COLUMN never int');
    await source.query(
      `INSERT INTO doc (tenant, id, never) SELECT 't0', g, g FROM generate_series(5000, 6000) g`,
    );
    await source.query('ROLLBACK TO s');
    await source.query(rows('t1', 1, 1000).replace('INTO doc', 'INTO doc (tenant, id, n, body)'));
    await source.query('COMMIT');
    await world.equal();
    await source.query('ALTER TABLE doc DROP COLUMN extra');
    await source.query('BEGIN');
    await source.query(rows('t3', 1, 2000));
    await source.query('COMMIT');
    await world.equal();
    await world.waitFor('transactions in progress come again', async () => {
      await source.query('BEGIN');
      await source.query(rows('t4', 1, 1000));
      let open = 0;
      for (let look = 0; look < 50 && open !== 1; look++) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        open = await world.keptOpen();
      }
      await source.query('ROLLBACK');
      return open === 1;
    });
  });

  test('of nothing but empty tables and barriers is no trouble', async () => {
    const { source } = world;
    await source.query(
      'BEGIN; CREATE TABLE public.passing (x text); INSERT INTO passing SELECT repeat(md5(g::text), 5) FROM generate_series(1, 5000) g; DROP TABLE passing; COMMIT',
    );
    await source.query(rows('t0', 1, 10));
    await world.equal();
  });
});
