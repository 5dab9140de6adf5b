/** Every process is killed at every step of a transaction that comes before it has committed (I1, I2, I3, I10). */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ServiceName, StreamedWorld } from './streamed-world.ts';

let world: StreamedWorld;
let id = 0;

beforeAll(async () => {
  world = await StreamedWorld.start(6);
  await world.both();
});
afterAll(() => world?.close());

const rows = (tenant: string, count: number) => {
  const from = id + 1;
  id += count;
  return `INSERT INTO doc SELECT '${tenant}', g, 0, repeat(md5(g::text), 10) FROM generate_series(${from}, ${id}) g`;
};

/** Of several tenants, with parts that are rolled back, and small transactions beside it. */
async function work(end: 'COMMIT' | 'ROLLBACK' = 'COMMIT'): Promise<void> {
  const { source } = world;
  const beside = await world.failover.servers.east.connect('app');
  const from = id;
  await source.query('BEGIN');
  for (let i = 0; i < 6; i++) {
    for (let t = 0; t < 3; t++) await source.query(rows(`t${t}`, 150));
    await source.query(`UPDATE doc SET n = n + 1 WHERE tenant = 't1' AND id > ${from} AND id % 2 = 0`);
    await source.query(`SAVEPOINT s${i}`);
    await source.query(rows('t2', 300));
    await source.query(`DELETE FROM doc WHERE tenant = 't0' AND id > ${from} AND id % 3 = 0`);
    await source.query(i % 2 === 0 ? `ROLLBACK TO s${i}` : `RELEASE s${i}`);
    await beside.query(rows('t3', 5));
    await beside.query(`UPDATE doc SET n = n + 1 WHERE tenant = 't3' AND id > ${id - 40}`);
  }
  await source.query(end);
  await beside.query(rows('t0', 5));
  await beside.end();
}

type Step = [ServiceName, string, number];
const STEPS: Step[] = [
  ['cdc', 'before-publish', 5],
  ['cdc', 'after-publish', 12],
  ['cdc', 'after-ack', 8],
  ['cdc', 'before-confirm', 4],
  ['apply', 'streamed-written', 12],
  ['apply', 'streamed-commit', 1],
  ['apply', 'streamed-committed', 1],
  ['apply', 'before-commit', 6],
];
/** The same steps at other times. */
const MORE: Step[] = [
  ['cdc', 'after-publish', 30],
  ['cdc', 'after-ack', 40],
  ['apply', 'streamed-written', 1],
  ['apply', 'committed', 10],
];
const FULL = process.env['DROVER_FULL'] === '1';

describe('killed at a step', () => {
  test.each(FULL ? [...STEPS, ...MORE] : STEPS)('%s at %s, the time number %i', async (name, step, nth) => {
    await world.kill(name);
    await world.run(name, step, nth);
    let alive = true;
    const dead = world.died(name).then(() => {
      alive = false;
    });
    await work();
    await work('ROLLBACK');
    for (let i = 0; alive && i < 20; i++) await work();
    await dead;
    await world.run(name);
    await work();
    await world.equal();
    await world.waitFor('nothing is kept open', async () => (await world.keptOpen()) === 0);
  });

  test('apply within the reading of a transaction again', async () => {
    await world.kill('apply');
    await world.run('apply', 'streamed-written', 4);
    await work();
    await world.died('apply');
    // Whoever comes behind the first part cannot keep it open.
    await world.run('apply', 'part-written', 3);
    await world.died('apply');
    await world.run('apply');
    await world.equal();
  });

  test('both, again and again', async () => {
    for (let i = 0; i < 3; i++) {
      const going = work();
      await new Promise((resolve) => setTimeout(resolve, 100 + i * 150));
      await Promise.all([world.kill('cdc'), world.kill('apply')]);
      await world.both();
      await going;
    }
    await world.equal();
  });
});

describe('a server is killed while a transaction is kept open', () => {
  async function open(): Promise<void> {
    await world.source.query('BEGIN');
    for (let t = 0; t < 3; t++) await world.source.query(rows(`t${t}`, 1000));
    await world.waitFor('it is kept open', async () => (await world.keptOpen()) > 0);
  }

  test('the bus', async () => {
    await open();
    await world.failover.nats.kill9();
    await world.source.query(rows('t1', 1000));
    await world.source.query('COMMIT');
    await world.failover.nats.restart();
    await world.equal();
  });

  test('the replica', async () => {
    await open();
    await world.restartTarget();
    await world.source.query(rows('t1', 1000));
    await world.source.query('COMMIT');
    await world.equal();
  });

  test('the source, which has rolled it back then', async () => {
    await open();
    await world.restartSource();
    await world.source.query(rows('t1', 1000));
    await world.equal();
    await world.waitFor('nothing is kept open', async () => (await world.keptOpen()) === 0);
    await work();
    await world.equal();
  });

  test('the source for good, and whoever takes over is not held up', async () => {
    const { source, target } = world;
    await source.query(`INSERT INTO doc VALUES ('t0', -1, 0, 'x')`);
    await world.equal();
    await source.query('BEGIN');
    await source.query(`UPDATE doc SET n = 1 WHERE tenant = 't0' AND id = -1`);
    for (let t = 0; t < 3; t++) await source.query(rows(`t${t}`, 1000));
    await world.waitFor('it is kept open', async () => (await world.keptOpen()) > 0);
    await world.failover.kill('east');
    await target.query(`SELECT drover.open_tenant('t0', 2)`);
    await target.query(`SET lock_timeout = '60s'`);
    await target.query(`UPDATE doc SET n = 2 WHERE tenant = 't0' AND id = -1`);
    expect(await world.count(`tenant = 't0' AND n = 2 AND id = -1`)).toBe(1);
  });
});
