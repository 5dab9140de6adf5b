import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compareTables, expectSameTables } from './compare-tables.ts';
import { type TestPostgres, testPostgres } from './test-postgres.ts';

let one: TestPostgres;
let other: TestPostgres;
let a: pg.Client;
let b: pg.Client;

beforeAll(async () => {
  one = await testPostgres({ major: 18 });
  other = await testPostgres({ major: 16 });
  a = await one.connect(await one.createDatabase());
  b = await other.connect(await other.createDatabase());
});

afterAll(async () => {
  await a.end();
  await b.end();
  await one.stop();
  await other.stop();
});

const VALUES = `(1, 'a', 1.50, '{"b":1,  "a":2}', '2024-01-01 00:00+02', '\\x00ff', NULL), (2, '', 0.1, 'null', 'infinity', '', 1e-300)`;

test('the same rows compare equal across majors, column order and session settings', async () => {
  await a.query(
    'CREATE TABLE t (id int PRIMARY KEY, s text, n numeric, j json, at timestamptz, y bytea, f float8)',
  );
  await b.query(
    'CREATE TABLE t (s text, id int PRIMARY KEY, n numeric, j json, at timestamptz, y bytea, f float8)',
  );
  await b.query(
    "SET timezone = 'Asia/Tokyo'; SET datestyle = 'German'; SET bytea_output = 'escape'; SET extra_float_digits = -3",
  );
  for (const client of [a, b]) await client.query(`INSERT INTO t (id, s, n, j, at, y, f) VALUES ${VALUES}`);
  await expectSameTables(a, b, ['public.t']);
});

test('differences a value comparison would pass over are differences', async () => {
  for (const change of ['n = 1.500', 'j = \'{"b":1,"a":2}\'', 's = NULL', 'f = 0']) {
    await b.query('BEGIN');
    await b.query(`UPDATE t SET ${change} WHERE id = 1`);
    await b.query('COMMIT');
    await expect(expectSameTables(a, b, ['t'])).rejects.toThrow('t: 2 rows against 2');
    await b.query('DELETE FROM t');
    await b.query(`INSERT INTO t (id, s, n, j, at, y, f) VALUES ${VALUES}`);
  }
});

test('only the rows that where names are looked at', async () => {
  await b.query('DELETE FROM t WHERE id = 2');
  expect(await compareTables(a, b, ['t'], 'id = 1')).toEqual([]);
  expect(await compareTables(a, b, ['t'], (table) => (table === 't' ? 'id < 2' : undefined))).toEqual([]);
  const [difference] = await compareTables(a, b, ['t']);
  expect(difference?.onlyInA).toHaveLength(1);
  expect(difference?.onlyInB).toEqual([]);
});
