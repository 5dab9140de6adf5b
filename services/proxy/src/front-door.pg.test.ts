import { execFile } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { connect as tcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as tls } from 'node:tls';
import { promisify } from 'node:util';
import { testPostgres } from '@drover/testkit';
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { cancelRequest, int32, message, SSL_REQUEST } from './protocol/builders.ts';
import {
  bind,
  close,
  describe as describeMessage,
  execute,
  flush,
  parse,
  query,
  RawClient,
  sync,
} from './raw.testing.ts';
import { PASSWORD, type World, world } from './world.testing.ts';

const run = promisify(execFile);
let w: World;

beforeAll(async () => {
  w = await world({
    servers: { east: await testPostgres() },
    tenants: ['acme', 'globex', 'x.y'],
    proxy: 'pool_size = 2',
  });
});
afterAll(() => w.close());

const raws: RawClient[] = [];
afterEach(async () => {
  await w.endClients();
  for (const client of raws.splice(0)) client.socket.destroy();
});

const raw = async (user = 'acme.app', password = PASSWORD): Promise<RawClient> => {
  const client = new RawClient(w.port);
  raws.push(client);
  await client.login({ user, database: w.database }, password);
  return client;
};
const env = (tenant = 'acme') => ({
  ...process.env,
  PGPASSWORD: PASSWORD,
  PGHOST: '127.0.0.1',
  PGPORT: String(w.port),
  PGUSER: `${tenant}.app`,
  PGDATABASE: w.database,
});

test('many clients of several tenants on two backends see their own rows only', async () => {
  const tenants = ['acme', 'globex', 'x.y'];
  const pids = new Set<number>();
  await Promise.all(
    Array.from({ length: 18 }, async (_, n) => {
      const tenant = tenants[n % 3] ?? '';
      const client = await w.client(tenant);
      for (let i = 0; i < 30; i++) {
        if (i % 3 === 0)
          await client.query('INSERT INTO items VALUES ($1, $2, $3)', [tenant, n * 100 + i, tenant]);
        else if (i % 3 === 1) {
          const { rows } = await client.query({
            name: 'mine',
            text: 'SELECT tenant, note, pg_backend_pid() AS pid FROM items',
          });
          for (const row of rows) {
            expect(row.tenant).toBe(tenant);
            pids.add(row.pid);
          }
          expect(rows.length).toBeGreaterThan(0);
        } else {
          await client.query('BEGIN');
          const { rows } = await client.query('SELECT DISTINCT tenant FROM items');
          expect(rows).toEqual([{ tenant }]);
          await client.query(i % 2 === 0 ? 'COMMIT' : 'ROLLBACK');
        }
      }
      const { rows } = await client.query('UPDATE items SET note = note RETURNING tenant');
      expect(new Set(rows.map((row) => row.tenant))).toEqual(new Set([tenant]));
    }),
  );
  expect(pids.size).toBe(2);
});

test('psql: simple queries, meta commands, several statements, errors with their SQLSTATE', async () => {
  const psql = (...args: string[]) => run('psql', ['-X', '-At', ...args], { env: env() });
  expect((await psql('-c', 'SELECT 1', '-c', 'SELECT 2; SELECT 3')).stdout).toBe('1\n2\n3\n');
  expect((await psql('-c', '\\dt')).stdout).toContain('public|items|table');
  const { stderr } = await psql('-v', 'VERBOSITY=verbose', '-c', 'SELECT 1/0').catch((error) => error);
  expect(stderr).toContain('22012');
  const again = await psql('-v', 'ON_ERROR_STOP=0', '-c', 'COPY (SELECT generate_series(1, 3)) TO STDOUT');
  expect(again.stdout).toBe('1\n2\n3\n');
});

test('COPY in and out, in a temporary table that pins the session', async () => {
  const file = join(mkdtempSync(join(tmpdir(), 'door-')), 'copy.sql');
  const rows = Array.from({ length: 20_000 }, (_, i) => `${i}\trow ${i}`).join('\n');
  writeFileSync(
    file,
    `CREATE TEMP TABLE t (id int, note text);\nCOPY t FROM STDIN;\n${rows}\n\\.\nSELECT count(*), sum(id) FROM t;\nCOPY (SELECT * FROM t WHERE id < 2 ORDER BY id) TO STDOUT;\nCOPY t FROM STDIN;\nbroken\n\\.\nSELECT count(*) FROM t;\n`,
  );
  const { stdout, stderr } = await run('psql', ['-X', '-At', '-q', '-f', file], { env: env() });
  expect(stdout).toBe('20000|199990000\n0\trow 0\n1\trow 1\n20000\n');
  expect(stderr).toContain('invalid input syntax');
});

test.each(['simple', 'extended', 'prepared'])('pgbench -M %s: no error', async (mode) => {
  const dir = mkdtempSync(join(tmpdir(), 'door-'));
  const script = join(dir, 'script.sql');
  writeFileSync(
    script,
    `\\set id random(1, 100)\nBEGIN;\nINSERT INTO items VALUES ('globex', :id, 'a') ON CONFLICT (tenant, id) DO UPDATE SET note = 'b';\nSELECT note FROM items WHERE id = :id;\nCOMMIT;\n`,
  );
  const only = join(dir, 'select.sql');
  writeFileSync(only, '\\set id random(1, 100)\nSELECT note FROM items WHERE id = :id;\n');
  const { stdout } = await run(
    'pgbench',
    ['-n', '-M', mode, '-c', '6', '-j', '6', '-t', '50', '-f', script, '-f', only],
    { env: env('globex') },
  );
  expect(stdout).toContain('number of transactions actually processed: 300/300');
});

test('a wrong password, an unknown user and an unknown tenant look alike', async () => {
  const tries = async (user: string, password: string) => {
    const begun = performance.now();
    const error: pg.DatabaseError = await w.client('', { user, password }).then(
      () => expect.unreachable(),
      (e) => e,
    );
    return { code: error.code, message: error.message.replaceAll(user, '?'), ms: performance.now() - begun };
  };
  const wrong = await tries('acme.app', 'wrong');
  const unknownUser = await tries('acme.nobody', PASSWORD);
  const unknownTenant = await tries('nowhere.app', PASSWORD);
  expect(wrong).toMatchObject({ code: '28P01', message: 'password authentication failed for user "?"' });
  expect({ ...unknownUser, ms: 0 }).toEqual({ ...wrong, ms: 0 });
  expect({ ...unknownTenant, ms: 0 }).toEqual({ ...wrong, ms: 0 });
});

test('the tenant may come from the database name; tenant names may contain dots; a foreign database is refused', async () => {
  const byDatabase = await w.client('', { user: 'app', database: 'globex' });
  const { rows } = await byDatabase.query("SELECT current_setting('drover.context') AS c");
  expect(rows[0].c).toMatch(/^globex\|1\|/);
  const dotted = await w.client('x.y');
  expect((await dotted.query("SELECT current_setting('drover.context') AS c")).rows[0].c).toMatch(
    /^x=2Ey\|1\|/,
  );
  await expect(w.client('acme', { database: 'postgres' })).rejects.toMatchObject({ code: '3D000' });
});

test('the context cannot be forged, changed or lost', async () => {
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
  const [a, b] = [await raw(), await raw('globex.app')];
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

test('a changed result type costs one error, as at the server, and preparing again mends it', async () => {
  const root = await w.root();
  await root.query('CREATE TABLE changing (a int); GRANT SELECT, INSERT ON changing TO drover_tenant');
  const client = await w.client('acme');
  await client.query({ name: 'c', text: 'SELECT * FROM changing' });
  await root.query('ALTER TABLE changing ADD b int');
  await expect(client.query({ name: 'c', text: 'SELECT * FROM changing' })).rejects.toMatchObject({
    code: '0A000',
  });
  expect((await client.query({ name: 'c', text: 'SELECT * FROM changing' })).fields.length).toBe(2);
  await root.query('DROP TABLE changing');
  await root.end();
});

test('pipelines: several Syncs in flight, one error each, Flush, row limits, queries between', async () => {
  const c = await raw();
  const run = [bind('', ''), execute()];
  c.send(parse('', 'SELECT 1'), ...run, sync);
  c.send(parse('', 'SELECT 1/0'), ...run, parse('', 'SELECT 2'), ...run, sync);
  c.send(
    query('SELECT 3; SELECT 4'),
    parse('', 'SELECT 5'),
    bind('', ''),
    describeMessage('P', ''),
    execute(),
    sync,
  );
  expect((await c.untilReady(4)).join(' ')).toBe('1 2 D C ZI 1 E:22012 ZI T D C T D C ZI 1 2 T D C ZI');
  c.send(parse('', 'SELECT generate_series(1, 3)'), bind('p', ''), execute('p', 2), flush);
  expect([
    (await c.next()).type,
    (await c.next()).type,
    (await c.next()).type,
    (await c.next()).type,
    (await c.next()).type,
  ]).toEqual(['1', '2', 'D', 'D', 's']);
  c.send(execute('p', 2), sync);
  expect(await c.untilReady()).toEqual(['D', 'C', 'ZI']);
  c.send(message('F', int32(2078), Buffer.alloc(6)), query(''));
  expect(await c.untilReady(2)).toEqual(['E:0A000', 'ZI', 'I', 'ZI']);
  c.send(message('d', Buffer.from('late')), message('c'), sync, query('SELECT 1'));
  expect(await c.untilReady(2)).toEqual(['ZI', 'T', 'D', 'C', 'ZI']);
  c.socket.destroy();
});

test('COPY by the extended protocol counts Syncs as the server does', async () => {
  const c = await raw();
  c.send(query('CREATE TEMP TABLE k (a int)'));
  await c.untilReady();
  c.send(parse('', 'COPY k FROM STDIN'), bind('', ''), execute(), sync);
  expect([(await c.next()).type, (await c.next()).type, (await c.next()).type]).toEqual(['1', '2', 'G']);
  c.send(message('d', Buffer.from('1\n2\n')), message('c'), sync, query('SELECT count(*) FROM k'));
  expect(await c.untilReady(2)).toEqual(['C', 'ZI', 'T', 'D', 'C', 'ZI']);
  c.socket.destroy();
});

test('protocol versions: 3.2 is spoken, newer is negotiated once, 3.0 hears nothing of it, 2.0 and 4.0 are refused', async () => {
  const login = (version: number, more: Record<string, string> = {}) => {
    const client = new RawClient(w.port);
    return client
      .login({ user: 'acme.app', database: w.database, ...more }, PASSWORD, version)
      .then((types) => ({ client, types }));
  };
  const three = await login(0x30000);
  expect(three.types).not.toContain('v');
  expect(three.client.secret.length).toBe(4);
  const two = await login(0x30002);
  expect(two.types).not.toContain('v');
  expect(two.client.secret.length).toBe(32);
  const newer = await login((3 << 16) | 9999, { '_pq_.test_protocol_negotiation': '' });
  expect(newer.types.filter((type) => type === 'v').length).toBe(1);
  expect(newer.types.at(-1)).toBe('Z');
  expect((await login(0x20000)).types).toEqual(['E:0A000']);
  expect((await login(0x40000)).types).toEqual(['E:0A000']);
  expect((await login(0x30000, { replication: 'database' })).types).toEqual(['E:0A000']);
  expect((await login(0x30000, { client_encoding: 'SJIS' })).types).toEqual(['E:0A000']);
  expect((await login(0x30000, { 'drover.context': 'x' })).types).toEqual(['E:0A000']);
  expect((await login(0x30000, { options: '-c role=postgres' })).types).toEqual(['E:42501']);
  expect((await login(0x30000, { statement_timeout: 'never' })).types.at(-1)).toBe('E:22023');
  expect((await login(0x30000)).client.parameters.get('standard_conforming_strings')).toBe('on');
});

test('garbage ends its own connection only', async () => {
  for (const bytes of [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.alloc(64, 0xff),
    Buffer.from([0, 0, 0, 4]),
    int32(11_000),
  ]) {
    const socket = tcp({ host: '127.0.0.1', port: w.port });
    socket.on('error', () => undefined);
    const closed = new Promise((resolve) => socket.on('close', resolve));
    socket.resume();
    socket.write(bytes);
    await closed;
  }
  const c = await raw();
  c.send(Buffer.from([0x51, 0, 0, 0, 1]));
  expect(await c.untilReady()).toEqual(['E:08P01', '']);
  const d = await raw();
  d.send(Buffer.from([0x7a, 0, 0, 0, 4]));
  expect(await d.untilReady()).toEqual(['E:08P01', '']);
  expect((await (await w.client('acme')).query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
});

test('TLS: after a request, directly with ALPN, never with bytes smuggled in front', async () => {
  const client = await w.client('acme', { ssl: { rejectUnauthorized: false } });
  expect((await client.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
  const direct = (ALPNProtocols: string[]) =>
    new Promise<string>((resolve) => {
      const socket = tls({ host: '127.0.0.1', port: w.port, ALPNProtocols, rejectUnauthorized: false });
      socket.on('secureConnect', () => {
        const body = Buffer.from(`\0\x03\0\0user\0acme.app\0database\0${w.database}\0\0`, 'latin1');
        socket.write(Buffer.concat([int32(body.length + 4), body]));
      });
      socket.on('data', (chunk: Buffer) => {
        resolve(String.fromCharCode(chunk[0] ?? 0));
        socket.destroy();
      });
      socket.on('error', () => resolve('refused'));
      socket.on('close', () => resolve('refused'));
    });
  expect(await direct(['postgresql'])).toBe('R');
  expect(await direct(['http/1.1'])).toBe('refused');
  expect(await direct([])).toBe('refused');
  const smuggler = new RawClient(w.port);
  smuggler.send(SSL_REQUEST, Buffer.from('smuggled'));
  expect(await smuggler.untilReady()).toEqual(['E:08P01', '']);
});

test('a cancel request stops the own statement, and only with the right key', async () => {
  const c = await raw();
  const cancel = (pid: number, secret: Buffer) =>
    new Promise<void>((resolve) => {
      const socket = tcp({ host: '127.0.0.1', port: w.port });
      socket.on('close', () => resolve());
      socket.on('error', () => undefined);
      socket.resume();
      socket.end(cancelRequest(pid, secret));
    });
  c.send(query('SELECT pg_sleep(20)'));
  await new Promise((resolve) => setTimeout(resolve, 100));
  await cancel(c.pid, Buffer.alloc(4, 1));
  const begun = performance.now();
  await cancel(c.pid, c.secret);
  expect(await c.untilReady()).toEqual(['T', 'E:57014', 'ZI']);
  expect(performance.now() - begun).toBeLessThan(5000);
  await cancel(c.pid, c.secret);
  c.send(query('SELECT 1'));
  expect(await c.untilReady()).toEqual(['T', 'D', 'C', 'ZI']);
  c.socket.destroy();
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
  expect((await root.query('SELECT 1 FROM pg_stat_activity WHERE pid = $1', [pid])).rowCount).toBe(0);
  await root.end();
  await expect.poll(() => w.metrics()).toMatch(/drover_proxy_pins_total\{reason="listen"\} [1-9]/);
});

test('a backend that dies idle is invisible; one that dies in use gives one clean error', async () => {
  const root = await w.root();
  const killAll = () =>
    root.query(
      "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'drover' AND datname = $1",
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
  await new Promise((resolve) => setTimeout(resolve, 100));
  await killAll();
  await failing;
  expect((await client.query('SELECT 3 AS n')).rows).toEqual([{ n: 3 }]);
  await client.query('BEGIN');
  const ended = new Promise((resolve) => client.once('error', resolve));
  await killAll();
  expect(await ended).toMatchObject({ code: '57P01', severity: 'FATAL' });
  await root.end();
});

test('large messages and rows pass whole', async () => {
  const client = await w.client('acme');
  const big = 'x'.repeat(3_000_000);
  expect((await client.query('SELECT $1::text AS t, length($1) AS n', [big])).rows[0]).toEqual({
    t: big,
    n: 3_000_000,
  });
  const { rows } = await client.query("SELECT repeat('y', 1000) AS y FROM generate_series(1, 20000)");
  expect(rows.length).toBe(20_000);
  const values = Array.from({ length: 5000 }, (_, i) => i);
  expect(
    (
      await client.query(
        `SELECT (SELECT sum(v)::int FROM unnest(ARRAY[${values.map((_, i) => `$${i + 1}`).join()}]::int[]) v) AS sum`,
        values,
      )
    ).rows[0].sum,
  ).toBe(12_497_500);
});

test('a client that does not read stops its server, and gets everything when it reads on', async () => {
  const slow = await raw();
  slow.socket.pause();
  slow.send(query("SELECT repeat('z', 10000) FROM generate_series(1, 10000)"));
  slow.send(query('SELECT 1'));
  const before = process.memoryUsage().rss;
  const other = await w.client('globex');
  for (let i = 0; i < 20; i++) {
    await other.query('SELECT pg_sleep(0.02)');
    expect(process.memoryUsage().rss - before).toBeLessThan(60_000_000);
  }
  slow.socket.resume();
  const seen = await slow.untilReady(2);
  expect(seen.length).toBe(10_000 + 3 + 4);
});

test('a suspended tenant is sent away and refused', async () => {
  await w.addTenant('fleeting');
  await expect
    .poll(async () =>
      w.client('fleeting').then(
        () => 'in',
        (e) => e.code,
      ),
    )
    .toBe('in');
  const client = await w.client('fleeting');
  const ended = new Promise((resolve) => client.once('error', resolve));
  const found = await w.catalog.tenants.get('fleeting');
  await w.catalog.tenants.put('fleeting', { ...found!.value, state: 'suspended' });
  expect(await ended).toMatchObject({ code: '57P01' });
  await expect(w.client('fleeting')).rejects.toMatchObject({ code: '57P03' });
});
