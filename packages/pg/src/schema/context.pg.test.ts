import { tenantId, tenantToken } from '@drover/core';
import { testPostgres } from '@drover/testkit';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CONTEXT_KEY, type Fixture, fixture, sqlStateOf } from '../setup/fixture.testing.ts';
import { signContext } from './sign-context.ts';

const TABLES = `
  CREATE TABLE public.orders (tenant text NOT NULL, id int, note text, PRIMARY KEY (tenant, id));
  CREATE TABLE public.by_number (tenant bigint NOT NULL, id int, PRIMARY KEY (tenant, id));
  CREATE TABLE public.by_uuid (tenant uuid NOT NULL, id int, PRIMARY KEY (tenant, id));
  INSERT INTO public.orders VALUES ('acme', 1, 'a'), ('acme', 2, 'b'), ('bolt', 1, 'c'), ('a b|=ä', 1, 'd');
  INSERT INTO public.by_number VALUES (7, 1), (8, 1);
  INSERT INTO public.by_uuid VALUES ('00000000-0000-0000-0000-0000000000ab', 1);`;

describe.each([16, 17, 18] as const)('tenant context on PostgreSQL %i (I6)', (major) => {
  let f: Fixture;
  beforeAll(async () => {
    f = await fixture(await testPostgres({ major }), { sql: TABLES });
  });
  afterAll(() => f.close());

  const count = async (client: { query: Fixture['root']['query'] }, table = 'orders') =>
    Number((await client.query(`SELECT count(*) AS n FROM public.${table}`)).rows[0].n);

  it('shows a tenant its rows and nothing without a context', async () => {
    const s = await f.tenant();
    expect(await count(s.client)).toBe(0);
    await s.become('acme', 1);
    expect(await count(s.client)).toBe(2);
    await s.become('bolt', 1);
    expect(await count(s.client)).toBe(1);
    await s.client.query(`SET drover.context = ''`);
    expect(await count(s.client)).toBe(0);
    await s.client.query('RESET drover.context');
    expect(await count(s.client)).toBe(0);
  });

  it('decodes every token that core encodes', async () => {
    const s = await f.tenant('a b|=ä');
    expect((await s.client.query('SELECT note FROM public.orders')).rows).toEqual([{ note: 'd' }]);
    await fc.assert(
      fc.asyncProperty(fc.string({ minLength: 1, maxLength: 30, unit: 'grapheme' }), async (name) => {
        fc.pre(
          !name.startsWith('_') &&
            !name.includes('\0') &&
            Buffer.byteLength(name) <= 200 &&
            name.isWellFormed(),
        );
        await s.become(name, 3);
        expect((await s.client.query('SELECT drover.tenant() AS t')).rows[0].t).toBe(name);
      }),
      { numRuns: 60 },
    );
  });

  it('takes integers and uuids only in their canonical spelling', async () => {
    const s = await f.tenant('7');
    expect(await count(s.client, 'by_number')).toBe(1);
    for (const name of [
      '07',
      '+7',
      '7.0',
      ' 7',
      '7 ',
      'acme',
      '-0',
      '99999999999999999999',
      '9999999999999999999',
    ]) {
      await s.become(name, 1);
      expect(await count(s.client, 'by_number'), name).toBe(0);
    }
    await s.become('9223372036854775807', 1);
    expect((await s.client.query('SELECT drover.tenant_bigint() AS t')).rows[0].t).toBe(
      '9223372036854775807',
    );
    await s.become('-9223372036854775808', 1);
    expect((await s.client.query('SELECT drover.tenant_bigint() AS t')).rows[0].t).toBe(
      '-9223372036854775808',
    );
    await s.become('00000000-0000-0000-0000-0000000000ab', 1);
    expect(await count(s.client, 'by_uuid')).toBe(1);
    await s.become('00000000-0000-0000-0000-0000000000AB', 1);
    expect(await count(s.client, 'by_uuid')).toBe(0);
    expect(await count(s.client, 'by_number')).toBe(0);
  });

  it('is worth nothing with one character altered, cut, added, or swapped', async () => {
    const s = await f.tenant('acme');
    const genuine = (await s.client.query(`SELECT current_setting('drover.context') AS c`)).rows[0]
      .c as string;
    const set = async (context: string) => {
      await s.client.query(`SELECT set_config('drover.context', $1, false)`, [context]);
      return (await s.client.query('SELECT drover.tenant() AS t')).rows[0].t as string | null;
    };
    for (let i = 0; i < genuine.length; i++) {
      for (const ch of [genuine[i] === '0' ? '1' : '0', '|', genuine[i]!.toUpperCase(), ' ', 'ä']) {
        if (ch === genuine[i]) continue;
        expect(await set(genuine.slice(0, i) + ch + genuine.slice(i + 1)), `${i} ${ch}`).toBeNull();
      }
      expect(await set(genuine.slice(0, i) + genuine.slice(i + 1))).toBeNull();
      expect(await set(`${genuine.slice(0, i)}0${genuine.slice(i)}`)).toBeNull();
    }
    for (const context of [
      `${genuine}|`,
      ` ${genuine}`,
      `${genuine}\n`,
      '|',
      '||',
      'acme',
      'acme|1',
      'acme|1|',
      '|'.repeat(66),
      genuine.repeat(2),
    ]) {
      expect(await set(context), context).toBeNull();
    }
    expect(await set(genuine)).toBe('acme');
  });

  it("is worth nothing in another backend, even at the same tenant's hands", async () => {
    const a = await f.tenant('acme');
    const b = await f.tenant('bolt');
    expect(a.number).not.toBe(b.number);
    const stolen = (await a.client.query(`SELECT current_setting('drover.context') AS c`)).rows[0].c;
    await b.client.query(`SELECT set_config('drover.context', $1, false)`, [stolen]);
    expect(await count(b.client)).toBe(0);
    // Attaching again, or forgetting sequences and attaching, does not bring the other number about.
    expect((await b.client.query('SELECT drover.attach() AS n')).rows[0].n).toBe(b.number);
    await b.client.query('DISCARD SEQUENCES');
    expect((await b.client.query('SELECT drover.attach() AS n')).rows[0].n).not.toBe(b.number);
    await b.client.query(`SELECT set_config('drover.context', $1, false)`, [stolen]);
    expect(await count(b.client)).toBe(0);
  });

  it('needs the right key', async () => {
    const s = await f.tenant();
    const forged = signContext(Buffer.alloc(32, 8), tenantToken(tenantId('acme')), 1, s.number);
    await s.client.query(`SELECT set_config('drover.context', $1, false)`, [forged]);
    expect(await count(s.client)).toBe(0);
    const genuine = signContext(CONTEXT_KEY, 'acme', 1, s.number);
    await s.client.query(`SELECT set_config('drover.context', $1, false)`, [genuine]);
    expect(await count(s.client)).toBe(2);
  });

  it('refuses drover_tenant everything from which a context could be made', async () => {
    const s = await f.tenant('acme');
    const refused = [
      'SELECT pad_inner FROM drover.node',
      'SELECT cluster FROM drover.node',
      'SELECT * FROM drover.tenant',
      'SELECT * FROM drover.ledger',
      `SELECT setval('drover.backend', 1)`,
      `SELECT nextval('drover.backend')`,
      `SELECT currval('drover.backend')`,
      `SELECT nextval('drover.backend_counter')`,
      `SELECT drover.open_tenant('acme', 99)`,
      `SELECT drover.close_tenant('acme', 1)`,
      `SELECT drover.follow_tenant('acme', 1, 'west', 'live', null, null, null)`,
      `SELECT drover.forget_tenant('acme', 1)`,
      `SELECT drover.lock_tenant('bolt')`,
      `SELECT * FROM drover.writers('acme')`,
      `SELECT drover.terminate_writers('acme')`,
      'CREATE TABLE drover.mine (a int)',
      'CREATE TABLE public.mine (a int)',
      'TRUNCATE public.orders',
      'ALTER TABLE public.orders DISABLE ROW LEVEL SECURITY',
      'SET ROLE drover_admin',
      'SET session_replication_role = replica',
      'CREATE POLICY p ON public.orders USING (true)',
    ];
    for (const sql of refused) expect(await sqlStateOf(s.client.query(sql)), sql).toBe('42501');
    await s.client.query('SET row_security = off');
    expect(await sqlStateOf(s.client.query('SELECT * FROM public.orders'))).toBe('42501');
  });

  it('is not fooled by objects that the tenant makes and puts into search_path', async () => {
    const s = await f.tenant('bolt');
    await s.client.query(`
      CREATE FUNCTION pg_temp.current_setting(text, boolean) RETURNS text LANGUAGE sql AS $$ SELECT 'acme|1|' $$;
      CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT ''::bytea $$;
      CREATE FUNCTION pg_temp.yes(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
      CREATE OPERATOR pg_temp.= (LEFTARG = text, RIGHTARG = text, PROCEDURE = pg_temp.yes);
      SET search_path = pg_temp, pg_catalog, public`);
    expect((await s.client.query('SELECT drover.tenant() AS t')).rows[0].t).toBe('bolt');
    expect(await count(s.client)).toBe(1);
  });

  it('is evaluated once a statement and lets queries run in parallel', async () => {
    await f.root.query(
      `INSERT INTO public.orders SELECT 'bulk', g, repeat('x', 50) FROM generate_series(1, 40000) g; ANALYZE public.orders`,
    );
    const s = await f.tenant('bulk');
    await s.client.query(
      'SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET enable_indexonlyscan = off; SET enable_indexscan = off; SET enable_bitmapscan = off',
    );
    const plan = (await s.client.query('EXPLAIN (COSTS off) SELECT count(*) FROM public.orders')).rows
      .map((row) => row['QUERY PLAN'])
      .join('\n');
    expect(plan).toContain('Parallel Seq Scan');
    expect(plan).toContain('InitPlan');
    expect(await count(s.client)).toBe(40000);
    await s.client.query('RESET enable_indexonlyscan; RESET enable_indexscan; RESET enable_bitmapscan');
    const byKey = (
      await s.client.query('EXPLAIN (COSTS off) SELECT note FROM public.orders WHERE id = 5')
    ).rows
      .map((row) => row['QUERY PLAN'])
      .join('\n');
    expect(byKey).toMatch(/Index Cond: \(\(tenant = .*\) AND \(id = 5\)\)/);
    const deletes = (await s.client.query('EXPLAIN (COSTS off) DELETE FROM public.orders WHERE id = 5')).rows
      .map((row) => row['QUERY PLAN'])
      .join('\n');
    expect(deletes).toMatch(/Index Cond: \(\(tenant = .*\) AND \(id = 5\)\)/);
    await f.root.query(`DELETE FROM public.orders WHERE tenant = 'bulk'`);
  });
});
