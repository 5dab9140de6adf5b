/** Ordinary clients of several tenants before two backends: libraries, psql, pgbench; who is let in, and what comes through. */
import { execFile } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { testPostgres } from '@drover/testkit';
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
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
afterEach(() => w.endClients());
afterAll(() => w.close());

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
  const psql = (...args: string[]) => run('psql', ['-X', '-At', ...args], { env: w.env('acme') });
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
  const { stdout, stderr } = await run('psql', ['-X', '-At', '-q', '-f', file], { env: w.env('acme') });
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
    { env: w.env('globex') },
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
