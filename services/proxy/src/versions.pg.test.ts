/** The front door on the other supported majors of PostgreSQL: of everything a little. The whole suite runs on the newest. */
import { execFile } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { testPostgres } from '@drover/testkit';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { message } from './protocol/builders.ts';
import { bind, describe as describeMessage, execute, flush, parse, query, sync } from './raw.testing.ts';
import { moved, type World, world } from './world.testing.ts';

const run = promisify(execFile);

describe.each([16, 17] as const)('PostgreSQL %i', (major) => {
  let w: World;
  beforeAll(async () => {
    const [east, west] = [await testPostgres({ major }), await testPostgres()];
    w = await world({ servers: { east, west }, tenants: ['acme', 'globex'], proxy: 'pool_size = 2' });
  });
  afterEach(() => w.endClients());
  afterAll(() => w.close());

  test('it is the version the client sees', async () => {
    const { rows } = await (await w.client('acme')).query('SHOW server_version_num');
    expect(Math.floor(Number(rows[0].server_version_num) / 10_000)).toBe(major);
  });

  test('clients of two tenants on two backends: rows, settings, named statements of their own', async () => {
    await Promise.all(
      Array.from({ length: 8 }, async (_, n) => {
        const tenant = n % 2 === 0 ? 'acme' : 'globex';
        const client = await w.client(tenant, { options: `-c statement_timeout=${n + 10}s` });
        for (let i = 0; i < 15; i++) {
          await client.query('INSERT INTO items VALUES ($1, $2, $1)', [tenant, n * 100 + i]);
          const { rows } = await client.query({
            name: 'mine',
            text: "SELECT DISTINCT tenant, current_setting('statement_timeout') AS t FROM items",
          });
          expect(rows).toEqual([{ tenant, t: `${n + 10}s` }]);
        }
      }),
    );
  });

  test.each(['simple', 'extended', 'prepared'])('pgbench -M %s: no error', async (mode) => {
    const script = join(mkdtempSync(join(tmpdir(), 'door-')), 'script.sql');
    writeFileSync(
      script,
      `\\set id random(1, 100)\nBEGIN;\nINSERT INTO items VALUES ('globex', :id, 'a') ON CONFLICT (tenant, id) DO UPDATE SET note = 'b';\nSELECT note FROM items WHERE id = :id;\nCOMMIT;\n`,
    );
    const { stdout } = await run(
      'pgbench',
      ['-n', '-M', mode, '-c', '4', '-j', '4', '-t', '25', '-f', script],
      { env: w.env('globex') },
    );
    expect(stdout).toContain('number of transactions actually processed: 100/100');
  });

  test('pipelines, row limits, COPY, errors', async () => {
    const c = await w.raw();
    c.send(parse('s', 'SELECT 1'), describeMessage('S', 's'), sync, bind('', 's'), execute(), sync);
    c.send(parse('', 'SELECT 1/0'), bind('', ''), execute(), sync, query('SELECT 1; SELECT 2'));
    expect((await c.untilReady(4)).join(' ')).toBe('1 t T ZI 2 D C ZI 1 E:22012 ZI T D C T D C ZI');
    c.send(parse('', 'SELECT generate_series(1, 3)'), bind('', ''), execute('', 2), flush);
    for (const type of ['1', '2', 'D', 'D', 's']) expect((await c.next()).type).toBe(type);
    c.send(execute(), sync, query('CREATE TEMP TABLE k (a int)'), query('COPY k FROM STDIN'));
    expect(await c.untilReady(2)).toEqual(['D', 'C', 'ZI', 'C', 'ZI']);
    expect((await c.next()).type).toBe('G');
    c.send(message('d', Buffer.from('1\n2\n')), message('c'), query('SELECT count(*) FROM k'));
    expect(await c.untilReady(2)).toEqual(['C', 'ZI', 'T', 'D', 'C', 'ZI']);
    c.socket.destroy();
  });

  test('a backend that dies in use gives one clean error, LISTEN is heard, a tenant moves to another version', async () => {
    const client = await w.client('acme');
    const root = await w.root();
    const failing = expect(client.query('SELECT pg_sleep(20)')).rejects.toMatchObject({ code: '57P01' });
    await expect
      .poll(async () => {
        const { rows } = await root.query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(20)'",
        );
        return rows.length;
      })
      .toBe(1);
    await failing;
    await root.end();
    const listener = await w.client('acme');
    const heard = new Promise((resolve) => listener.once('notification', (n) => resolve(n.payload)));
    await listener.query('LISTEN news');
    await client.query("NOTIFY news, 'hello'");
    expect(await heard).toBe('hello');
    await listener.end();
    await w.moveInDatabase('acme', 'east', 'west', 2);
    const late = client.query("INSERT INTO items VALUES ('acme', 9999, 'moved')");
    await w.place('acme', moved('west'));
    await late;
    const { rows } = await client.query('SHOW server_version_num');
    expect(Number(rows[0].server_version_num)).toBeGreaterThan(180_000);
  });
});
