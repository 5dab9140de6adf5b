/** What a client's session keeps although its backends are shared, and what nobody can do to another's. */
import { testPostgres } from '@drover/testkit';
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { bind, close, describe as describeMessage, execute, parse, query, sync } from './raw.testing.ts';
import { isAt, type World, world } from './world.testing.ts';

let w: World;

beforeAll(async () => {
  w = await world({
    servers: { east: await testPostgres() },
    tenants: ['acme', 'globex'],
    proxy: 'pool_size = 2',
  });
});
afterEach(() => w.endClients());
afterAll(() => w.close());

test('the context cannot be forged, changed or lost', async () => {
  for (const tenant of ['acme', 'globex'])
    await (await w.client(tenant)).query('INSERT INTO items VALUES ($1, 1)', [tenant]);
  const client = await w.client('acme');
  for (const sql of [
    "SET drover.context = 'globex|1|00'",
    "SET LOCAL drover.context TO ''",
    "SELECT set_config('drover.context', 'globex|1|00', false)",
    'RESET drover.context',
    'SET ROLE drover_admin',
    'SET SESSION AUTHORIZATION postgres',
    'SET standard_conforming_strings = off',
    "SET client_encoding TO 'SJIS'",
    "SET NAMES 'LATIN1'",
    'SET row_security = off',
    'SELECT * FROM pg_prepared_statements',
    'select/**/ 1; set drover.context to x',
  ]) {
    await expect(client.query(sql), sql).rejects.toMatchObject({ code: '42501' });
    await expect(
      client.query({ name: `n${sql}`.slice(0, 60), text: sql }),
      `prepared ${sql}`,
    ).rejects.toMatchObject({ code: '42501' });
  }
  const mine = async () =>
    (await client.query("SELECT count(*)::int AS n FROM items WHERE tenant <> 'acme'")).rows[0].n;
  const tenant = async () => (await client.query('SELECT drover.tenant() AS t')).rows[0].t;
  for (const sql of [
    'RESET ALL',
    'DISCARD ALL',
    'DISCARD SEQUENCES',
    'DEALLOCATE ALL',
    `DO $$ BEGIN PERFORM set_config('drover.' || 'context', 'globex|1|00', false); END $$`,
    `DO $$ BEGIN EXECUTE 'DISCARD SEQUENCES'; END $$`,
    `SELECT 1; RESET ALL; SELECT 2`,
    `SELECT set_config('drover.' || 'context', 'globex|1|00', false)`,
  ]) {
    await client.query(sql);
    expect(await tenant(), sql).toBe('acme');
    expect(await mine(), sql).toBe(0);
  }
  const other = await w.client('globex');
  expect((await other.query('SELECT drover.tenant() AS t')).rows[0].t).toBe('globex');
});

test('settings follow the client over backends and never another client', async () => {
  const a = await w.client('acme', {
    options: '-c statement_timeout=7s -c search_path=a\\,\\ public',
    application_name: 'first',
  });
  const b = await w.client('acme');
  await a.query("SET TimeZone = 'Asia/Tokyo'");
  await a.query('BEGIN');
  await a.query("SET lock_timeout = '3s'");
  await a.query('ROLLBACK');
  await a.query('BEGIN');
  await a.query("SET work_mem = '5MB'");
  await a.query('COMMIT');
  const shown = async (c: pg.Client) =>
    (
      await c.query(`SELECT current_setting('TimeZone') AS tz, current_setting('statement_timeout') AS st, current_setting('lock_timeout') AS lt,
       current_setting('work_mem') AS wm, current_setting('search_path') AS sp, current_setting('application_name') AS an`)
    ).rows[0];
  const defaults = await shown(b);
  // Both backends are visited: two transactions are open at once while the client asks.
  for (let i = 0; i < 4; i++) {
    const blockers = await Promise.all(Array.from({ length: i % 2 }, () => w.client('globex')));
    for (const blocker of blockers) await blocker.query('BEGIN');
    expect(await shown(a)).toEqual({
      tz: 'Asia/Tokyo',
      st: '7s',
      lt: '0',
      wm: '5MB',
      sp: 'a, public',
      an: 'first',
    });
    for (const blocker of blockers) await blocker.query('ROLLBACK');
    expect(await shown(b)).toEqual(defaults);
  }
  await a.query('RESET statement_timeout');
  expect(await shown(a)).toMatchObject({ st: '7s' });
  await a.query('DISCARD ALL');
  expect(await shown(a)).toMatchObject({ tz: defaults.tz, st: '7s', wm: defaults.wm, an: 'first' });
});

test('prepared statements are the client’s own although backends are shared', async () => {
  const [a, b] = [await w.raw(), await w.raw('globex')];
  a.send(parse('s', 'SELECT 1 AS one'), sync);
  expect(await a.untilReady()).toEqual(['1', 'ZI']);
  b.send(parse('s', "SELECT 'two'::text"), describeMessage('S', 's'), sync);
  expect(await b.untilReady()).toEqual(['1', 't', 'T', 'ZI']);
  b.send(query('DEALLOCATE ALL'));
  await b.untilReady();
  a.send(bind('', 's'), execute(), sync);
  expect(await a.untilReady()).toEqual(['2', 'D', 'C', 'ZI']);
  b.send(bind('', 's'), execute(), sync);
  expect(await b.untilReady()).toEqual(['E:26000', 'ZI']);
  a.send(parse('s', 'SELECT 2'), bind('', 's'), sync);
  expect(await a.untilReady()).toEqual(['E:42P05', 'ZI']);
  a.send(close('S', 'nothing'), close('S', 's'), bind('', 's'), sync);
  expect(await a.untilReady()).toEqual(['3', '3', 'E:26000', 'ZI']);
  a.send(
    parse('bad', 'SELEC'),
    sync,
    bind('', 'bad'),
    sync,
    parse('bad', 'SELECT 3'),
    bind('', 'bad'),
    execute(),
    sync,
  );
  expect(await a.untilReady(3)).toEqual(['E:42601', 'ZI', 'E:26000', 'ZI', '1', '2', 'D', 'C', 'ZI']);
  a.send(parse('', 'SELECT 4'), sync);
  await a.untilReady();
  b.send(parse('', 'SELECT 5'), bind('', ''), execute(), sync);
  await b.untilReady();
  a.send(bind('', ''), execute(), sync);
  expect(await a.untilReady()).toEqual(['2', 'D', 'C', 'ZI']);
  a.socket.destroy();
  b.socket.destroy();
});

test('LISTEN and advisory locks pin the session; the backend is not reused', async () => {
  const listener = await w.client('acme');
  const heard = new Promise((resolve) => listener.once('notification', (n) => resolve(n.payload)));
  await listener.query('LISTEN news');
  const pid = (await listener.query('SELECT pg_backend_pid() AS pid')).rows[0].pid;
  const other = await w.client('acme');
  await other.query("NOTIFY news, 'hello'");
  expect(await heard).toBe('hello');
  await listener.query('SELECT pg_advisory_lock(7)');
  expect((await other.query('SELECT pg_try_advisory_xact_lock(7) AS got')).rows).toEqual([{ got: false }]);
  await listener.end();
  await expect
    .poll(async () => (await other.query('SELECT pg_try_advisory_xact_lock(7) AS got')).rows[0].got)
    .toBe(true);
  const root = await w.root();
  await expect
    .poll(async () => (await root.query('SELECT 1 FROM pg_stat_activity WHERE pid = $1', [pid])).rowCount)
    .toBe(0);
  await root.end();
  await expect.poll(() => w.metrics()).toMatch(/drover_proxy_pins_total\{reason="listen"\} [1-9]/);
});

test('a backend that dies idle is invisible; one that dies in use gives one clean error', async () => {
  const root = await w.root();
  const killAll = () =>
    root.query(
      "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = 'drover' AND datname = $1",
      [w.database],
    );
  const client = await w.client('acme');
  await client.query('SELECT 1');
  await killAll();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect((await client.query('SELECT 2 AS n')).rows).toEqual([{ n: 2 }]);
  const failing = expect(client.query('SELECT pg_sleep(20)')).rejects.toMatchObject({
    code: '57P01',
    severity: 'ERROR',
  });
  await isAt(root, 'SELECT pg_sleep(20)');
  await killAll();
  await failing;
  expect((await client.query('SELECT 3 AS n')).rows).toEqual([{ n: 3 }]);
  await client.query('BEGIN');
  const ended = new Promise((resolve) => client.once('error', resolve));
  await killAll();
  expect(await ended).toMatchObject({ code: '57P01', severity: 'FATAL' });
  await root.end();
});
