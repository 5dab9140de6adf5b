import { LSN_ZERO, parseLsn } from '@drover/core';
import { type TestPostgres, testPostgres, unique } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectPg } from './connect.ts';
import { emitBarrier, emitHeartbeat } from './emit.ts';
import { PgPool } from './pool.ts';
import { quoteIdent, quoteLiteral } from './quote.ts';

let server: TestPostgres;
let database: string;

beforeAll(async () => {
  server = await testPostgres();
  database = await server.createDatabase();
});

describe('connectPg', () => {
  test('pins what a role or database could have set otherwise', async () => {
    const admin = await server.connect(database);
    await admin.query(`ALTER DATABASE ${quoteIdent(database)} SET search_path = public`);
    await admin.query(`ALTER DATABASE ${quoteIdent(database)} SET datestyle = 'SQL, DMY'`);
    await admin.query(`ALTER DATABASE ${quoteIdent(database)} SET array_nulls = off`);
    await admin.query(`ALTER DATABASE ${quoteIdent(database)} SET xmloption = document`);
    await admin.query(
      `ALTER DATABASE ${quoteIdent(database)} SET default_transaction_isolation = serializable`,
    );
    await admin.end();
    const client = await connectPg(server.connection(database));
    const { rows } = await client.query(
      `SELECT current_setting('search_path') AS path, current_setting('DateStyle') AS dates, current_setting('TimeZone') AS zone,
              current_setting('application_name') AS name, '{NULL}'::text[] AS nulls, xmlparse(CONTENT '') IS NOT NULL AND ''::xml IS NOT NULL AS content,
              current_setting('transaction_isolation') AS isolation`,
    );
    expect(rows).toEqual([
      {
        ...{ path: 'pg_catalog,pg_temp', dates: 'ISO, MDY', zone: 'UTC', name: 'drover' },
        ...{ nulls: [null], content: true, isolation: 'read committed' },
      },
    ]);
    await client.end();
  });

  test.each([
    ['a wrong password', () => ({ password: 'wrong' }), 'pg.auth'],
    ['an empty password', () => ({ password: '' }), 'pg.auth'],
    ['an unknown role', () => ({ user: 'nobody_here' }), 'pg.auth'],
    ['an unknown database', () => ({ database: 'nowhere' }), 'pg.not_set_up'],
    ['a port nobody listens on', () => ({ port: 1 }), 'pg.unreachable'],
    ['a host that does not exist', () => ({ host: 'no-such-host.invalid' }), 'pg.unreachable'],
    ['TLS where the server has none', () => ({ ssl: { rejectUnauthorized: false } }), 'pg.auth'],
  ])('%s', async (_, change, code) => {
    const options = { ...server.connection(database), ...change() };
    await expect(connectPg(options)).rejects.toMatchObject({ code, facts: { user: options.user } });
  });

  test('a connection lost while idle does not end the process; the next query says so', async () => {
    const client = await connectPg(server.connection(database));
    const admin = await server.connect();
    const { rows } = await client.query('SELECT pg_backend_pid() AS pid');
    await admin.query('SELECT pg_terminate_backend($1, 5000)', [rows[0]?.['pid']]);
    await admin.end();
    await expect(client.query('SELECT 1')).rejects.toThrow();
  });

  test('literals read back as they were, whatever the server makes of backslashes', async () => {
    const client = await connectPg(server.connection(database));
    const text = `o'clock \\' \\\\ "x" \n é`;
    for (const setting of ['on', 'off']) {
      await client.query(`SET standard_conforming_strings = ${setting}`);
      const { rows } = await client.query(`SELECT ${quoteLiteral(text)} AS text`);
      expect(rows).toEqual([{ text }]);
    }
    await client.end();
  });
});

describe('PgPool', () => {
  let pool: PgPool;
  beforeAll(async () => {
    pool = new PgPool({ ...server.connection(database), max: 2 });
    await pool.query('CREATE TABLE public.item (id int PRIMARY KEY)');
  });
  afterAll(() => pool.close());

  const count = async () =>
    Number((await pool.query('SELECT count(*) AS n FROM public.item')).rows[0]?.['n']);

  test('a transaction commits, or leaves nothing', async () => {
    await pool.transaction((client) => client.query('INSERT INTO public.item VALUES (1)'));
    await expect(
      pool.transaction(async (client) => {
        await client.query('INSERT INTO public.item VALUES (2)');
        await client.query('INSERT INTO public.item VALUES (1)');
      }),
    ).rejects.toMatchObject({ code: '23505' });
    expect(await count()).toBe(1);
  });

  test('a swallowed error does not pass for a commit', async () => {
    const work = pool.transaction(async (client) => {
      await client.query('INSERT INTO public.item VALUES (1)').catch(() => {});
    });
    await expect(work).rejects.toMatchObject({ code: 'internal.assertion' });
  });

  test('a client given back inside a transaction is thrown away', async () => {
    const pid = (client: { query: PgPool['query'] }) =>
      client.query('SELECT pg_backend_pid() AS pid').then((r) => r.rows[0]?.['pid']);
    const dirty = await pool.withClient(async (client) => {
      await client.query('BEGIN');
      return pid(client);
    });
    const next = await Promise.all([pool.withClient(pid), pool.withClient(pid)]);
    expect(next).not.toContain(dirty);
  });

  test('a lost connection is pg.unreachable, and the next one works', async () => {
    const kill = pool.query('SELECT pg_terminate_backend(pg_backend_pid())');
    await expect(kill).rejects.toMatchObject({ code: 'pg.unreachable' });
    expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  test('waiting for a client is bounded', async () => {
    const bounded = new PgPool({ ...server.connection(database), max: 2, connectTimeoutMs: 2000 });
    const go = Promise.withResolvers<void>();
    const hold = async (held: PromiseWithResolvers<void>) =>
      bounded.withClient(async () => {
        held.resolve();
        await go.promise;
      });
    const held = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const holding = Promise.all(held.map(hold));
    await Promise.race([holding, Promise.all(held.map(({ promise }) => promise))]);
    await expect(bounded.query('SELECT 1')).rejects.toMatchObject({ code: 'pg.unreachable' });
    go.resolve();
    await holding;
    await bounded.close();
  });
});

test('emitted messages lie in the WAL where their LSN says', async () => {
  const client = await connectPg(server.connection(database));
  const before = await client.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn');
  const barrier = await emitBarrier(client, {
    tenant: '*',
    id: unique('b'),
    pauseFor: { target: 'west', ms: 5 },
  });
  const heartbeat = await emitHeartbeat(client);
  expect(barrier).toBeGreaterThan(parseLsn(before.rows[0]?.lsn ?? '0/0'));
  expect(heartbeat).toBeGreaterThan(barrier);
  expect(barrier).toBeGreaterThan(LSN_ZERO);
  await client.end();
});
