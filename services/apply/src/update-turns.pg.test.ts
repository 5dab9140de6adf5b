/** Large batches of updates take turns; nothing but their time depends on it. */
import { testPassword } from '@drover/testkit';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { makeWorld, type World } from './world.testing.ts';

const TENANTS = ['a', 'b', 'c', 'd'];
let world: World;
let other: pg.Client;

beforeAll(async () => {
  world = await makeWorld('CREATE TABLE item (tenant text, id int, v text, PRIMARY KEY (tenant, id))');
  for (const tenant of TENANTS) await world.tenant(tenant);
  await world.start();
  await world.source.query(
    `INSERT INTO item SELECT t, i, 'new' FROM unnest('{${TENANTS.join()}}'::text[]) t, generate_series(1, 1000) i`,
  );
  await flow();
  const { host, port, database } = world.target;
  const password = testPassword('drover_apply');
  other = new pg.Client({ host, port, database, user: 'drover_apply', password });
  await other.connect();
});
afterEach(async () => {
  await other.query('ROLLBACK');
  await world.settled();
  await world.same(['item']);
});
afterAll(async () => {
  await other.end();
  await world.close();
});

const flow = async (): Promise<void> => {
  await world.capture();
  await world.settled();
};
/** Somebody else has the turns of as many cores as a worker may have. */
const takeAll = async (): Promise<void> => {
  await other.query('BEGIN');
  await other.query('SELECT drover.take_turn(i) FROM generate_series(0, 511) i');
};
const waiting = async (): Promise<number> => {
  const { rows } = await world.source.query(
    `SELECT FROM pg_stat_activity WHERE usename = 'drover_apply' AND wait_event = 'advisory' AND query LIKE '%take_turn%'`,
  );
  return rows.length;
};
const changed = async (tenant: string, v: string): Promise<number> => {
  const { rows } = await world.target.query(`SELECT FROM item WHERE tenant = '${tenant}' AND v = '${v}'`);
  return rows.length;
};

it('a large batch stands ready until the one before it has ended', async () => {
  for (let i = 0; i < 3; i++) await update(`before ${i}`); // by now its tenants are known
  await takeAll();
  await world.source.query(`UPDATE item SET v = 'turn'`);
  await world.capture();
  await world.waitFor('it waits', async () => (await waiting()) > 0);
  expect(await changed('a', 'turn')).toBe(0);
  await other.query('COMMIT');
  await world.settled();
  expect(await changed('a', 'turn')).toBe(1000);
});

it('and by then has written what is new', async () => {
  for (let i = 0; i < 3; i++) await update(`beside ${i}`);
  await takeAll();
  await world.source.query(`WITH changed AS (UPDATE item SET v = 'beside the new' WHERE id <= 1000 AND tenant = 'a' RETURNING 1)
    INSERT INTO item SELECT 'a', i, 'new' FROM generate_series(10001, 10100) i, (SELECT count(*) FROM changed) c`);
  await world.capture();
  await world.waitFor('it waits', async () => (await waiting()) > 0);
  // Nobody else can write them, and nobody sees them.
  await world.target.query(`SET lock_timeout = '200ms'`);
  const same = world.target.query(`INSERT INTO item VALUES ('a', 10001, 'mine')`);
  await expect(same).rejects.toMatchObject({ code: '55P03' });
  await world.target.query('RESET lock_timeout');
  await other.query('COMMIT');
  await world.settled();
  expect(await changed('a', 'beside the new')).toBe(1000);
});

it('and goes on without its turn after a second: nobody stops others for longer', async () => {
  for (let i = 0; i < 3; i++) await update(`again ${i}`);
  await takeAll();
  await update('on its own');
  expect(await changed('b', 'on its own')).toBe(1000);
  expect((await world.target.query('SELECT FROM drover.ledger')).rows).toEqual([]);
});

it('small batches and rows that are new wait for nobody', async () => {
  await takeAll();
  for (let i = 0; i < 3; i++) {
    await world.source.query(`UPDATE item SET v = 'small' WHERE tenant = 'a' AND id BETWEEN 1 AND 100`);
    await world.source.query(
      `INSERT INTO item SELECT 'b', ${i} * 1000 + j, 'more' FROM generate_series(2001, 3000) j`,
    );
    const seen = flow();
    let waited = 0;
    await world.waitFor('it is done', async () => {
      waited += await waiting();
      return (await changed('b', 'more')) === (i + 1) * 1000;
    });
    await seen;
    expect(waited).toBe(0);
  }
});

it('a target that was not set up for turns yet is written as before', async () => {
  for (let i = 0; i < 3; i++) await update(`set up ${i}`);
  const { rows } = await world.target.query<{ sql: string }>(
    `SELECT pg_get_functiondef(oid) AS sql FROM pg_proc WHERE pronamespace = 'drover'::regnamespace AND proname IN ('met_by', 'take_turn')`,
  );
  expect(rows.length).toBe(2);
  await world.target.query('DROP FUNCTION drover.met_by, drover.take_turn');
  for (let i = 0; i < 2; i++) await update(`older ${i}`);
  expect(await changed('d', 'older 1')).toBe(1000);
  expect((await world.target.query('SELECT FROM drover.ledger')).rows).toEqual([]);
  for (const tenant of TENANTS) expect(await world.row(tenant)).toMatchObject({ feed: 'live' });
  for (const { sql } of rows) await world.target.query(sql);
  await world.target.query('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA drover TO drover_apply');
});

async function update(v: string): Promise<void> {
  await world.source.query(`UPDATE item SET v = '${v}'`);
  await flow();
}
