/** Transactions that come in chunks and wait in the reader for their commit, with the real reader and the real apply (pitfalls 49, 50, 51). */
import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { StreamedWorld } from './streamed-world.ts';

let world: StreamedWorld;
/** Of the source, outside of any transaction. */
let aside: pg.Client;

beforeAll(async () => {
  world = await StreamedWorld.start(4, {
    sections: { cdc: { chunk_bytes: '64KiB', stream_above_bytes: '16MiB' } },
  });
  aside = await world.failover.servers.east.connect('app');
  await world.both();
});
afterAll(async () => {
  await aside?.end();
  await world?.close();
});
beforeEach(() => world.empty());

const rows = (tenant: string, from: number, count = 1000) =>
  `INSERT INTO doc (tenant, id, body) SELECT '${tenant}', g, repeat(md5(g::text), 10) FROM generate_series(${from}, ${from + count - 1}) g;`;

interface Slot {
  readonly chunks: number;
  /** Of the walsender. */
  readonly pid: number;
}

async function slot(): Promise<Slot> {
  const { rows: found } = await aside.query<Slot>(
    `SELECT stream_count::int AS chunks, active_pid AS pid FROM pg_replication_slots JOIN pg_stat_replication_slots USING (slot_name)`,
  );
  return found[0] as Slot;
}

/** Begins, and resolves when chunks of it have been sent. */
async function begin(...statements: readonly string[]): Promise<void> {
  const { chunks } = await slot();
  await world.source.query(['BEGIN', ...statements].join(';'));
  await world.waitFor('chunks', async () => (await slot()).chunks > chunks);
}

describe('a transaction that waits', () => {
  test('is there with its commit, without what it has rolled back, and not before', async () => {
    const { source } = world;
    await begin(rows('t0', 1), 'SAVEPOINT a', rows('t1', 1), 'ROLLBACK TO a', rows('t2', 1));
    await source.query(
      `SAVEPOINT b; UPDATE doc SET n = 7 WHERE id % 2 = 0; DELETE FROM doc WHERE id % 3 = 0`,
    );
    await aside.query(rows('t3', 1, 10));
    await world.waitFor('what others commit goes ahead', async () => (await world.count()) === 10);
    expect(await world.keptOpen()).toBe(0);
    await source.query('COMMIT');
    await world.equal();
  });

  test('leaves nothing when it is rolled back', async () => {
    await begin(rows('t0', 1), 'SAVEPOINT a', rows('t1', 1));
    await world.source.query('ROLLBACK');
    await world.source.query(rows('t0', 1, 10));
    await world.equal();
  });

  test('and changes the schema among its rows is read once', async () => {
    const { source } = world;
    const { pid } = await slot();
    await begin(rows('t0', 1), 'ALTER TABLE doc ADD COLUMN extra int');
    await source.query(
      `INSERT INTO doc (tenant, id, extra) SELECT 't0', g, g FROM generate_series(2000, 3000) g`,
    );
    await source.query('ALTER TABLE doc RENAME COLUMN extra TO more; SAVEPOINT a; UPDATE doc SET more = n');
    await source.query('COMMIT');
    await world.equal();
    expect((await slot()).pid).toBe(pid);
    await source.query('ALTER TABLE doc DROP COLUMN more');
    await world.equal();
  });

  test('and has rolled back something beside a change of the schema is asked for again', async () => {
    const { source } = world;
    await begin(rows('t0', 1), 'SAVEPOINT a; ALTER TABLE doc ADD COLUMN never int', rows('t0', 5000));
    await source.query(`ROLLBACK TO a; ALTER TABLE doc ADD COLUMN extra int; ${rows('t1', 1)}`);
    await source.query('COMMIT');
    await world.equal();
    await source.query('ALTER TABLE doc DROP COLUMN extra');
    await world.equal();
  });

  test.each(['before its commit', 'behind it'])(
    'and whose reader is killed %s is there once',
    async (when) => {
      const { source } = world;
      await begin(rows('t0', 1), 'SAVEPOINT a', rows('t1', 1), 'ROLLBACK TO a', rows('t2', 1));
      if (when === 'before its commit') await world.kill('cdc');
      await source.query(`${rows('t0', 2000)} COMMIT`);
      if (when === 'behind it') await world.kill('cdc');
      await world.run('cdc');
      await world.equal();
    },
  );

  test('goes on in parts once it is too large for that', async () => {
    const { source } = world;
    await begin(rows('t0', 1), 'SAVEPOINT a', rows('t1', 1), 'ROLLBACK TO a');
    await source.query(rows('t0', 10_000, 60_000));
    await world.waitFor('it is kept open', async () => (await world.keptOpen()) === 1);
    await source.query('COMMIT');
    await world.equal();
    expect(await world.count()).toBe(61_000);
  });
});
