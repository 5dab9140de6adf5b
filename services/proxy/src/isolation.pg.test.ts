/**
 * I6 through the front door, in each way of keeping tenants apart: acme tries what SQL and the protocol offer to reach globex, with one
 * backend that both share wherever they can share one. What cannot be kept apart is in docs/limits.md.
 */
import { derivePassword } from '@drover/config';
import type { PgMajor } from '@drover/local';
import { type TestPostgres, testPostgres } from '@drover/testkit';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { bind, execute, parse, query, RawClient, sync } from './raw.testing.ts';
import { SECRET as DROVER_SECRET, PASSWORD, type World, world } from './world.testing.ts';

const SECRET = 'the secret of globex';

const WORLDS = [
  ['column', 18],
  ['schema', 18],
  ['database', 18],
  ['column', 17],
  ['schema', 17],
  ['column', 16],
  ['database', 16],
] as const satisfies readonly (readonly [string, PgMajor])[];

describe.each(WORLDS)('tenants kept apart by %s, PostgreSQL %i', (isolation, major) => {
  let w: World;
  let server: TestPostgres;
  let root: pg.Client;
  const shared = isolation !== 'database';
  /** Where globex's table is, as acme could name it. */
  const foreign = isolation === 'schema' ? 'tenant_globex.items' : 'public.items';

  beforeAll(async () => {
    server = await testPostgres({ major });
    w = await world({
      servers: { east: server },
      tenants: ['acme', 'globex'],
      isolation,
      proxy: 'pool_size = 1',
    });
    root = await w.root('east', 'globex');
    for (const tenant of ['acme', 'globex']) {
      const client = await w.client(tenant);
      const note = tenant === 'globex' ? SECRET : 'of acme';
      await client.query('INSERT INTO items VALUES ($1, 1, $2)', [tenant, note]);
      await client.end();
    }
  });
  afterEach(() => w.endClients());
  afterAll(async () => {
    await root.end();
    await w.close();
  });

  /** What a client learns from statements: rows and errors, as text. */
  const learn = async (client: pg.Client, ...statements: readonly string[]): Promise<string> => {
    const seen: unknown[] = [];
    for (const sql of statements) {
      await client.query(sql).then(
        (result) => seen.push([result].flat().map((one) => one.rows)),
        (error: pg.DatabaseError) => seen.push([error.code, error.message, error.detail, error.hint]),
      );
    }
    return JSON.stringify(seen);
  };
  /** The same in a session of acme's own, which ends: it may have bound the only backend there is. */
  const attempt = async (...statements: readonly string[]): Promise<string> => {
    const client = await w.client('acme');
    const seen = await learn(client, ...statements);
    await client.end();
    return seen;
  };
  const pidOf = async (client: pg.Client): Promise<number> =>
    (await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid;
  /** That the next transactions of both tenants run on one backend, or, with databases of their own, never do. */
  const sharing = async (a: pg.Client, b: pg.Client): Promise<void> => {
    expect((await pidOf(a)) === (await pidOf(b))).toBe(shared);
  };

  test('both work in their own tables, on one backend where they may', async () => {
    const [acme, globex] = [await w.client('acme'), await w.client('globex')];
    await sharing(acme, globex);
    expect((await acme.query('SELECT note FROM items')).rows).toEqual([{ note: 'of acme' }]);
    expect((await globex.query('SELECT note FROM items')).rows).toEqual([{ note: SECRET }]);
    expect((await globex.query("UPDATE items SET note = note WHERE tenant = 'globex'")).rowCount).toBe(1);
    if (isolation === 'schema') {
      expect((await acme.query('SHOW search_path')).rows[0].search_path).toBe('"tenant_acme", public');
      for (const sql of ['RESET search_path', 'SET search_path TO DEFAULT', 'DISCARD ALL', 'RESET ALL']) {
        await acme.query(sql);
        expect((await acme.query('SELECT note FROM items')).rows, sql).toEqual([{ note: 'of acme' }]);
      }
    }
  });

  test('qualified names, search paths, COPY, roles: nothing of the other is read', async () => {
    const seen = await attempt(
      `SELECT * FROM ${foreign}`,
      `SELECT * FROM ${foreign} WHERE tenant = 'globex' FOR UPDATE`,
      `SELECT * FROM "${w.databaseOf('globex')}".${foreign}`,
      'SET search_path = tenant_globex, public',
      'SELECT * FROM items',
      'SHOW search_path',
      "SELECT set_config('search_path', 'tenant_globex', false)",
      'SELECT * FROM items',
      'RESET search_path',
      `COPY ${foreign} TO STDOUT`,
      `COPY (SELECT * FROM ${foreign}) TO STDOUT`,
      `COPY ${foreign} TO PROGRAM 'cat'`,
      `SELECT query_to_xml('SELECT * FROM ${foreign}', true, true, '')`,
      `SELECT table_to_xml('${foreign}', true, true, '')`,
      `DO $$ BEGIN RAISE EXCEPTION '%', (SELECT string_agg(note, ',') FROM ${foreign}); END $$`,
      `EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM ${foreign} WHERE note LIKE '%'`,
      `SELECT most_common_vals, histogram_bounds FROM pg_stats WHERE tablename = 'items'`,
      `TABLE ${foreign}`,
      `WITH RECURSIVE x AS (SELECT * FROM ${foreign}) SELECT * FROM x`,
      `PREPARE mine AS SELECT * FROM ${foreign}`,
      'EXECUTE mine',
    );
    expect(seen).not.toContain(SECRET);
    for (const role of ['drover_admin', 'drover_apply', 'postgres', 'pg_read_all_data']) {
      const tried = await attempt(
        `SET ROLE ${role}`,
        `SET LOCAL ROLE ${role}`,
        `SET SESSION AUTHORIZATION ${role}`,
        `SELECT set_config('role', '${role}', false)`,
        `DO $$ BEGIN EXECUTE 'SET ROLE ${role}'; END $$`,
        `BEGIN; SET LOCAL SESSION AUTHORIZATION ${role}; SELECT * FROM ${foreign}; COMMIT`,
        'ROLLBACK',
        'RESET ROLE',
        'RESET SESSION AUTHORIZATION',
        'SET SESSION AUTHORIZATION DEFAULT',
        'SET ROLE NONE',
        `SELECT current_user, session_user, (SELECT json_agg(i) FROM ${foreign} i)`,
      );
      expect(tried, role).not.toContain(SECRET);
      expect(tried, role).toContain('"current_user":"drover_tenant"');
    }
  });

  test('nothing of the other is changed', async () => {
    await attempt(
      `UPDATE ${foreign} SET note = 'changed'`,
      `DELETE FROM ${foreign}`,
      `TRUNCATE ${foreign}`,
      `INSERT INTO ${foreign} VALUES ('globex', 2, 'planted')`,
      `INSERT INTO ${foreign} VALUES ('globex', 1, 'planted') ON CONFLICT (tenant, id) DO UPDATE SET note = 'changed'`,
      `MERGE INTO ${foreign} t USING (VALUES ('globex', 1)) v (tenant, id) ON t.tenant = v.tenant AND t.id = v.id WHEN MATCHED THEN UPDATE SET note = 'changed' WHEN NOT MATCHED THEN INSERT VALUES ('globex', 3, 'planted')`,
      `UPDATE items SET tenant = 'globex', id = 9`,
      `COPY ${foreign} FROM STDIN`,
      `ALTER TABLE ${foreign} DISABLE ROW LEVEL SECURITY`,
      `DROP TABLE ${foreign}`,
      `CREATE TRIGGER t AFTER INSERT ON ${foreign} EXECUTE FUNCTION suppress_redundant_updates_trigger()`,
      `LOCK TABLE ${foreign} IN ACCESS EXCLUSIVE MODE`,
      'ROLLBACK',
    );
    const all = shared && isolation === 'column' ? "WHERE tenant = 'globex' OR note = 'planted'" : '';
    const { rows } = await root.query(`SELECT tenant, id, note FROM ${foreign} ${all}`);
    expect(rows).toEqual([{ tenant: 'globex', id: 1, note: SECRET }]);
    await attempt("INSERT INTO items VALUES ('acme', 1, 'of acme') ON CONFLICT (tenant, id) DO NOTHING");
  });

  test('what one has left in a session is not there for the other', async () => {
    const globex = await w.client('globex');
    await globex.query(`SET my.note = '${SECRET}'`);
    await globex.query(`SELECT set_config('my.other', '${SECRET}', true)`);
    await globex.query({ name: 'left', text: `SELECT '${SECRET}'` });
    await globex.query(`SELECT '${SECRET}'`);
    const acme = await w.client('acme');
    await sharing(acme, globex);
    const seen = await learn(
      acme,
      "SELECT current_setting('my.note', true), current_setting('my.other', true)",
      'SHOW my.note',
      "SELECT * FROM pg_settings WHERE name LIKE 'my.%'",
      'SHOW ALL',
      'SELECT * FROM pg_prepared_statements',
      'SELECT * FROM pg_prepared_statement()',
      'DO $$ BEGIN PERFORM * FROM pg_prepared_statements; END $$',
      'EXECUTE "left"',
      'EXECUTE _drover_1',
      'EXPLAIN (VERBOSE) EXECUTE _drover_1',
      'SELECT * FROM pg_cursors',
    );
    expect(seen).not.toContain(SECRET);
    expect((await globex.query('SHOW my.note')).rows).toEqual([{ 'my.note': SECRET }]);
    const raw = await w.raw('acme');
    raw.send(bind('', 'left'), execute(), sync);
    expect(await raw.untilReady()).toEqual(['E:26000', 'ZI']);
    raw.socket.destroy();
  });

  test('cursors WITH HOLD and temporary tables go with their session', async () => {
    const globex = await w.client('globex');
    await globex.query(`DECLARE kept CURSOR WITH HOLD FOR SELECT note FROM items`);
    await globex.query('CREATE TEMP TABLE kept AS SELECT note FROM items');
    expect((await globex.query('FETCH ALL FROM kept')).rows).toEqual([{ note: SECRET }]);
    await globex.end();
    const seen = await attempt('FETCH ALL FROM kept', 'SELECT * FROM kept', 'SELECT * FROM pg_temp.kept');
    expect(seen).not.toContain(SECRET);
  });

  /** Ways to a temporary object that no look at the text recognises; each would stand before the other's own table. */
  test.each([
    [String.raw`CREATE TABLE U&"\0070g_temp".items (tenant text, id int, note text)`],
    [
      String.raw`SET search_path = E'\x70g_temp', public`,
      'CREATE TABLE items (tenant text, id int, note text)',
    ],
    [
      "BEGIN; SELECT set_config('search_path', 'pg_' || 'temp', true); CREATE TABLE items (tenant text, id int, note text); COMMIT",
    ],
    [String.raw`CREATE VIEW U&"\0070g_temp".items AS SELECT 'acme' AS tenant, 1 AS id, 'trap' AS note`],
  ])('no trap is left behind: %s', async (...statements) => {
    const acme = await w.client('acme');
    for (const sql of statements) await acme.query(sql);
    await acme.query('GRANT ALL ON items TO PUBLIC').catch(() => undefined);
    const globex = await w.client('globex');
    await sharing(acme, globex);
    expect((await globex.query('SELECT note FROM items')).rows).toEqual([{ note: SECRET }]);
    await globex.query("UPDATE items SET note = note WHERE tenant = 'globex'");
    expect(await learn(acme, 'SELECT * FROM items', 'SELECT * FROM pg_temp.items')).not.toContain(SECRET);
    await acme.end();
  });

  test('nor locks, nor predictable random numbers', async () => {
    const [acme, globex] = [await w.client('acme'), await w.client('globex')];
    await acme.query(String.raw`SELECT U&"pg\005fadvisory_lock"(77)`);
    await acme.query('SELECT setseed(0.25)');
    await sharing(acme, globex);
    const drawn = (await globex.query('SELECT random() AS r')).rows[0].r;
    // Where they share no backend, they share no lock either: advisory locks belong to a database.
    const held = await root.query(
      "SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = database WHERE locktype = 'advisory' AND objid = 77 AND datname = $1",
      [w.databaseOf('globex')],
    );
    expect(held.rowCount).toBe(0);
    const { rows } = await root.query('SELECT setseed(0.25), random() AS r');
    expect(drawn).not.toBe(rows[0].r);
  });

  test('the other’s statements, sessions, locks and large objects are out of reach', async () => {
    const globex = new pg.Client({
      ...server.connection(w.databaseOf('globex'), 'drover_tenant'),
      password: derivePassword(DROVER_SECRET, 'drover_tenant'),
    });
    await globex.connect();
    const { pid } = (await globex.query(`SELECT pg_backend_pid() AS pid, '${SECRET}'`)).rows[0];
    const seen = await attempt(
      'SELECT * FROM pg_stat_activity',
      'SELECT * FROM pg_stat_get_activity(NULL)',
      'SELECT pg_stat_get_backend_activity(i) FROM generate_series(1, 50) i',
      `SELECT pg_cancel_backend(${pid})`,
      `SELECT pg_terminate_backend(${pid})`,
      `SELECT lo_from_bytea(0, 'x')`,
      'SELECT lo_get(1)',
      'SELECT lo_creat(-1)',
    );
    expect(seen).not.toContain(SECRET);
    expect(JSON.parse(seen).map((one: [string]) => one[0])).toEqual(Array(8).fill('42501'));
    await globex.end();
  });

  test('the locks of the write fence cannot be taken', async () => {
    const acme = await w.client('acme');
    const key = "1146246738, hashtext('globex')";
    for (const lock of [
      'pg_advisory_lock',
      'pg_advisory_lock_shared',
      'pg_advisory_xact_lock',
      'pg_advisory_xact_lock_shared',
      'pg_try_advisory_lock',
      'pg_try_advisory_lock_shared',
      'pg_try_advisory_xact_lock',
      'pg_try_advisory_xact_lock_shared',
    ]) {
      await expect(acme.query(`SELECT ${lock}(${key})`), lock).rejects.toMatchObject({ code: '42501' });
    }
    expect((await acme.query('SELECT pg_try_advisory_xact_lock(1146246738) AS got')).rows).toEqual([
      { got: true },
    ]);
    const closing = await w.root('east', 'globex');
    await closing.query("SET lock_timeout = '1s'");
    await closing.query("BEGIN; SELECT drover.lock_tenant('globex'); ROLLBACK");
    await closing.end();
  });

  test('another database is not to be had', async () => {
    const wrong = w.databaseOf('globex');
    for (const database of ['postgres', 'template1', 'globex', ...(shared ? [] : [wrong, w.database])]) {
      await expect(w.client('acme', { database }), database).rejects.toMatchObject({
        code: expect.stringMatching(/3D000|28000|28P01/),
      });
    }
    const raw = new RawClient(w.port);
    const types = await raw.login(
      { user: 'acme.app', database: w.databaseOf('acme'), options: '-c drover.context=globex' },
      PASSWORD,
    );
    expect(types).toEqual(['E:42501']);
    raw.socket.destroy();
  });

  test('notifications stay in the database', async () => {
    const acme = await w.client('acme');
    const heard: (string | undefined)[] = [];
    acme.on('notification', (n) => heard.push(n.payload));
    if (shared) return;
    await acme.query('LISTEN news');
    await (await w.client('globex')).query(`NOTIFY news, '${SECRET}'`);
    await acme.query('SELECT pg_sleep(0.2)');
    expect(heard).toEqual([]);
  });

  test('who listened where nobody saw it does not hear on behalf of the next', async () => {
    const [acme, globex] = [await w.client('acme'), await w.client('globex')];
    const raw = await w.raw('globex');
    await acme.query("DO $$ BEGIN EXECUTE 'LISTEN news'; END $$");
    raw.send(query('SELECT count(*) FROM pg_listening_channels()'), parse('', 'SELECT 1'), sync);
    const first = await raw.next();
    expect([first.type, (await raw.next()).body.toString('latin1').at(-1)]).toEqual(['T', '0']);
    raw.socket.destroy();
    expect((await globex.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
  });
});
