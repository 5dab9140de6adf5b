/**
 * A deadlock at the replica, and a serialization failure, are tried again with the same result (pitfall 68): whoever else holds locks there (a report, a
 * backup, an operator) costs a moment, and stops nobody.
 */
import { sleep } from '@drover/core';
import type pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeWorld, type World } from './world.testing.ts';

const SQL = 'CREATE TABLE item (tenant text, id int, v int, PRIMARY KEY (tenant, id));';

let world: World;
let other: pg.Client;
let crossed = 0;

beforeEach(async () => {
  world = await makeWorld(SQL, { partitions: 1 });
  for (const tenant of ['a', 'b']) await world.tenant(tenant);
  other = world.target;
  // Apply looks for the deadlock, once in a wait and before it gives the wait up, and so is its victim.
  await other.query(`SET deadlock_timeout = '60s'`);
  const { rows } = await other.query<{ name: string }>('SELECT current_database() AS name');
  await other.query(`ALTER ROLE drover_apply IN DATABASE ${rows[0]?.name} SET deadlock_timeout = '2500ms'`);
});
afterEach(() => world.close());

async function deadlocks(): Promise<number> {
  const { rows } = await other.query<{ n: number }>(
    'SELECT deadlocks::int AS n FROM pg_stat_database WHERE datname = current_database()',
  );
  return rows[0]?.n ?? 0;
}

async function blockedApply(): Promise<boolean> {
  const { rows } = await world.source.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name LIKE 'drover apply%' AND wait_event_type = 'Lock'`,
  );
  return (rows[0]?.n ?? 0) > 0;
}

/**
 * Holds a row that apply is about to change, then asks for that of the tenant, which apply holds by then. When that comes so late that apply has given
 * its wait up, it was no deadlock: once more.
 */
async function cross(change: (nth: number) => Promise<void>): Promise<void> {
  const before = await deadlocks();
  for (;;) {
    await other.query('BEGIN');
    await other.query(`UPDATE item SET v = -1 WHERE tenant = 'a' AND id = 1`);
    await change(crossed++);
    await world.waitFor('apply waits for the row', blockedApply);
    await other.query(`SELECT FROM drover.tenant WHERE tenant = 'a' FOR UPDATE`); // granted when apply was chosen to let go
    await other.query('ROLLBACK');
    await world.settled();
    await world.same(['item']);
    for (let look = 0; look < 100; look++) {
      if ((await deadlocks()) > before) return;
      await sleep(100); // until it is counted
    }
  }
}

async function write(): Promise<void> {
  await world.source.query(
    `BEGIN; UPDATE item SET v = v + 1 WHERE tenant = 'a'; INSERT INTO item VALUES ('b', 2, 20), ('a', 2, 20); COMMIT`,
  );
}

describe('a deadlock with others at the replica', () => {
  beforeEach(async () => {
    await world.source.query(`INSERT INTO item VALUES ('a', 1, 10), ('b', 1, 10)`);
    await world.capture();
  });

  it('is tried again by the main lane, with the same result, and moves nobody out of it (68)', async () => {
    await world.start();
    await world.settled();
    for (let i = 0; i < 3; i++) {
      await cross(async (nth) => {
        await world.source.query(`UPDATE item SET v = v + 1 WHERE tenant = 'a'`);
        await world.source.query(`INSERT INTO item VALUES ('b', $1, 20), ('a', $1, 20)`, [nth + 2]);
        await world.capture();
      });
    }
    expect(await world.ledger()).toEqual([]);
    for (const tenant of ['a', 'b'])
      expect(await world.row(tenant)).toMatchObject({ feed: 'live', reason: null });
  });

  it('is tried again by the lane of a tenant, also within a transaction of several parts', async () => {
    await world.start();
    await world.settled();
    await cross(async (nth) => {
      await world.source.query('BEGIN');
      await world.source.query(
        `INSERT INTO item SELECT 'a', i, i FROM generate_series($1::int * 100, $1::int * 100 + 40) i`,
        [nth + 1],
      );
      await world.source.query(`UPDATE item SET v = v + 1 WHERE tenant = 'a'`);
      await world.source.query('COMMIT');
      await world.capture({ partBytes: 500 });
    });
    expect(await world.ledger()).toEqual([]);
    expect(await world.row('a')).toMatchObject({ feed: 'live', reason: null });
  });
});

describe('a serialization failure at the replica', () => {
  it.each(['40001', '40P01'])('(%s) is tried again, with the same result', async (sqlstate) => {
    await other.query(`CREATE SEQUENCE tried; GRANT USAGE ON SEQUENCE tried TO drover_apply`);
    await other.query(`CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF nextval('public.tried') <= 3 THEN RAISE EXCEPTION 'again' USING ERRCODE = '${sqlstate}'; END IF;
        RETURN NULL;
      END $$`);
    await other.query(`CREATE TRIGGER fail AFTER INSERT OR UPDATE ON item FOR EACH STATEMENT EXECUTE FUNCTION fail();
      ALTER TABLE item ENABLE ALWAYS TRIGGER fail`);
    await world.source.query(`INSERT INTO item VALUES ('a', 1, 10), ('b', 1, 10)`);
    await world.capture();
    await world.start();
    await world.settled();
    await other.query('ALTER SEQUENCE tried RESTART');
    await write();
    await world.capture();
    await world.settled();
    await world.same(['item']);
    expect(await world.ledger()).toEqual([]);
    expect(await world.row('a')).toMatchObject({ feed: 'live', reason: null });
    expect(Number((await other.query('SELECT last_value::int AS n FROM tried')).rows[0]?.n)).toBeGreaterThan(
      3,
    );
  });
});
