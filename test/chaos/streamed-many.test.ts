/** Transactions in progress of so many tenants of a partition that their rows are collected from one chunk to the next (ADR 7). */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { StreamedWorld } from './streamed-world.ts';

const TENANTS = 24;
let world: StreamedWorld;

beforeAll(async () => {
  world = await StreamedWorld.start(TENANTS, { sections: { nats: { partitions: 1 } } });
  await world.both();
});
afterAll(() => world?.close());
beforeEach(() => world.empty());

/** So many rows, the tenants in turns. */
const spread = (from: number, count: number) =>
  `INSERT INTO doc SELECT 't' || g % ${TENANTS}, g, 0, repeat(md5(g::text), 4) FROM generate_series(${from}, ${from + count - 1}) g`;

test('what is collected is there with the commit, and nothing of what was rolled back', async () => {
  const { source } = world;
  await source.query('BEGIN');
  await source.query(spread(0, 3000));
  await source.query('SAVEPOINT a');
  await source.query(spread(10_000, 3000));
  await source.query('UPDATE doc SET n = n + 1 WHERE id % 5 = 0');
  await source.query('ROLLBACK TO a');
  await source.query(spread(20_000, 3000));
  await source.query('UPDATE doc SET n = n + 10 WHERE id % 2 = 0');
  await source.query('DELETE FROM doc WHERE id % 7 = 0');
  await source.query('COMMIT');
  await world.equal();
  expect(await world.count()).toBe(await world.count('true', source));
});

test('what others commit meanwhile, on which its later rows rest, stands before them', async () => {
  const { source, failover } = world;
  await source.query(spread(0, 480));
  const other = await failover.servers.east.connect('app');
  await source.query('BEGIN');
  for (let i = 0; i < 10; i++) {
    await source.query(spread(1000 * (i + 1), 400));
    // A key that another gives up is taken at once, and taken again.
    await other.query(`DELETE FROM doc WHERE id BETWEEN ${i * 48} AND ${i * 48 + 47}`);
    await source.query(spread(i * 48, 48));
    await other.query(`UPDATE doc SET n = n + 1 WHERE id BETWEEN ${i * 48 + 48} AND 479`);
  }
  await source.query('COMMIT');
  await other.end();
  await world.equal();
  expect(await world.count('id < 480 AND n = 0')).toBe(480);
});

test.each(['cdc', 'apply'] as const)(
  '%s is killed while rows are collected, and while they are behind',
  async (name) => {
    const { source } = world;
    await source.query('BEGIN');
    await source.query(spread(0, 2000));
    await world.kill(name);
    await source.query(spread(10_000, 2000));
    const restarted = world.run(name);
    await source.query(spread(20_000, 2000));
    await source.query('COMMIT');
    for (let i = 3; i < 6; i++) await source.query(spread(i * 10_000, 2000));
    await restarted;
    await world.equal();
    expect(await world.count()).toBe(12_000);
  },
);
