import { testPostgres } from '@drover/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { readTables } from '../catalog/read-tables.ts';
import { classifyTables, publishedTables, tagOf, useOf } from '../setup/captured.ts';
import { columnTagging, type Fixture, fixture, sqlStateOf } from '../setup/fixture.testing.ts';
import { planGrants } from '../setup/grants.ts';
import { planProtect } from '../setup/protect.ts';
import { planPublication } from '../setup/publication.ts';
import { classifyTable, type Tagging } from '../tagging.ts';
import { planDdlCapture } from './ddl.ts';

interface Told {
  tag: string;
  command: string;
  baseline?: boolean;
  tables: {
    oid: number;
    before: { name: string } | null;
    after: { name: string; columns: { n: number; name: string }[] } | null;
    missing: Record<string, string | null>;
    unknown: string[];
  }[];
  types: { before: unknown; after: { labels?: { label: string }[] } | null }[];
}

const open: Fixture[] = [];
afterEach(async () => {
  for (const f of open.splice(0)) await f.close();
});

async function make(options: Parameters<typeof fixture>[1] & { major?: 16 | 17 | 18 }): Promise<Fixture> {
  const server = await testPostgres({ major: options.major ?? 18 });
  const f = await fixture(server, options);
  open.push(f);
  await told(f);
  return f;
}

/** What was told since the last call, in the order of commits. */
async function told(f: Fixture): Promise<Told[]> {
  const { rows } = await f.root.query<{ data: Buffer }>(
    `SELECT data FROM pg_logical_slot_get_binary_changes((SELECT slot_name FROM pg_replication_slots WHERE database = current_database()),
       NULL, NULL, 'proto_version', '1', 'publication_names', 'drover', 'messages', 'true', 'origin', 'none') WHERE get_byte(data, 0) = 77`,
  );
  return rows.flatMap(({ data }) => {
    const end = data.indexOf(0, 10);
    if (data.toString('utf8', 10, end) !== 'drover.ddl') return [];
    return [JSON.parse(data.toString('utf8', end + 5)) as Told];
  });
}

const T = 'CREATE TABLE public.t (tenant text, id int, v text, PRIMARY KEY (tenant, id))';

describe.each([16, 17, 18] as const)('the capture of schema changes on PostgreSQL %i', (major) => {
  it('tells what changed, in order, and nothing that did not happen', async () => {
    const f = await make({ sql: `${T}; INSERT INTO public.t VALUES ('a', 1)`, major });
    await f.root.query(`ALTER TABLE public.t ADD c int DEFAULT 7, ADD d text;
      ALTER TABLE public.t RENAME c TO cc; ALTER TABLE public.t ALTER cc SET STATISTICS 5; COMMENT ON TABLE public.t IS 'x'`);
    await f.root.query('BEGIN; ALTER TABLE public.t ADD never int; ROLLBACK');
    await f.root.query('CREATE TEMP TABLE mine (tenant text); CREATE TABLE public.untagged (x int)');
    const [add, rename, ...rest] = await told(f);
    expect(rest).toEqual([]);
    expect(add).toMatchObject({
      tag: 'ALTER TABLE',
      tables: [{ before: { name: 't' }, missing: { 4: '7' }, unknown: [] }],
    });
    expect(add?.tables[0]?.after?.columns.map((c) => [c.n, c.name])).toEqual([
      [1, 'tenant'],
      [2, 'id'],
      [3, 'v'],
      [4, 'c'],
      [5, 'd'],
    ]);
    expect(rename?.tables[0]?.after?.columns[3]).toMatchObject({ n: 4, name: 'cc' });
  });

  it('tells when rows were changed in a way that only it knows', async () => {
    const f = await make({
      sql: `${T}; INSERT INTO public.t VALUES ('a', 1, 'v'); CREATE TABLE public.empty (tenant text PRIMARY KEY)`,
      major,
    });
    const unknown = async (sql: string): Promise<string[]> => {
      await f.root.query(sql);
      return (await told(f)).flatMap((m) => m.tables.flatMap((t) => t.unknown));
    };
    expect(await unknown('ALTER TABLE public.t ADD u uuid DEFAULT gen_random_uuid()')).toEqual(['default']);
    expect(await unknown('ALTER TABLE public.empty ADD u uuid DEFAULT gen_random_uuid()')).toEqual([]);
    expect(await unknown('ALTER TABLE public.t ADD n bigserial')).toEqual(['default']);
    expect(
      await unknown('ALTER TABLE public.t ADD g int GENERATED ALWAYS AS (length(tenant)) STORED'),
    ).toEqual([]);
    expect(await unknown('ALTER TABLE public.t ADD at timestamp DEFAULT now()')).toEqual([]);
    expect(await unknown('ALTER TABLE public.t ALTER at TYPE timestamptz')).toEqual(['cast']);
    expect(await unknown('ALTER TABLE public.t ALTER n TYPE numeric')).toEqual([]);
    expect(await unknown('ALTER TABLE public.t ALTER v TYPE text USING upper(v)')).toEqual(['using']);
    expect(
      await unknown(
        `DO $$ BEGIN EXECUTE 'ALTER TABLE public.t ALTER v TYPE varchar(9) USING v || ''!'''; END $$`,
      ),
    ).toEqual(['using']);
    expect(await unknown(`DO $$ BEGIN ALTER TABLE public.t ALTER n TYPE text; END $$ -- not USING`)).toEqual(
      [],
    );
    await f.root.query(
      `CREATE FUNCTION public.hidden() RETURNS void LANGUAGE sql AS 'ALTER TABLE public.t ALTER id TYPE bigint'`,
    );
    expect(await unknown('SELECT public.hidden()')).toEqual(['using']); // it may have been one
    expect(await unknown('CREATE TABLE public.copied AS SELECT tenant, id FROM public.t')).toEqual(['rows']);
    expect(await unknown('ALTER TABLE public.copied RENAME tenant TO owner')).toEqual(['class']);
    expect(
      await unknown(
        'CREATE TABLE public.wide (x int); INSERT INTO public.wide VALUES (1); ALTER TABLE public.wide ADD tenant text',
      ),
    ).toEqual(['rows']);
  });

  it('gives a new table what setup would give it, whoever makes it', async () => {
    const tagging = columnTagging('tenant', {
      reference: ['public.ref'],
      overrides: { 'public.u': 'org', 'public.j': 'doc' },
    });
    const f = await make({ sql: 'CREATE TABLE public.first (tenant text PRIMARY KEY)', tagging, major });
    const owner = await f.server.createUser(undefined, '');
    await f.root.query(`GRANT CREATE ON SCHEMA public TO ${owner}; CREATE SCHEMA own AUTHORIZATION ${owner}`);
    const client = await f.connect(owner);
    await client.query(`CREATE TABLE public.plain (tenant text, id bigserial, PRIMARY KEY (tenant, id));
      CREATE TABLE own.keyless (tenant int); CREATE TABLE public.u (org uuid PRIMARY KEY); CREATE TABLE public.ref (k int PRIMARY KEY);
      CREATE TABLE public."Odd ""name" (tenant varchar(20) PRIMARY KEY, k int GENERATED ALWAYS AS IDENTITY);
      CREATE TABLE public.j (doc json, id int PRIMARY KEY);
      CREATE TABLE own.part (tenant text, id int, PRIMARY KEY (tenant, id)) PARTITION BY LIST (tenant);
      CREATE TABLE own.part_a PARTITION OF own.part FOR VALUES IN ('a') PARTITION BY RANGE (id);
      CREATE TABLE own.part_a1 PARTITION OF own.part_a DEFAULT`);
    await client.query(
      'ALTER TABLE own.keyless ADD id int, ADD PRIMARY KEY (tenant, id); CREATE TABLE own.later (tenant text)',
    );
    await f.root.query('CREATE TABLE public.supers (tenant text PRIMARY KEY)');
    const classified = classifyTables(await readTables(f.root), tagging, f.database);
    expect(classified.length).toBe(12);
    for (const c of classified) {
      const { schema, name: table } = c.table;
      const tag = tagOf(c);
      expect(await planGrants(f.root, { schema, table, use: useOf(c) }), table).toEqual([]);
      if (tag !== null && table !== 'j') {
        for (const { statements } of await planProtect(f.root, { schema, table, ...tag }))
          expect(statements, table).toEqual([]);
      }
    }
    expect((await planPublication(f.root, publishedTables(classified))).statements).toEqual([]);
    const identity = Object.fromEntries(classified.map((c) => [c.table.name, c.table.replicaIdentity]));
    expect(identity).toMatchObject({ plain: 'd', keyless: 'd', later: 'f', j: 'f' });
    // The application's own rights go on, also those given later.
    await client.query(`INSERT INTO public.plain VALUES ('a'); UPDATE own.later SET tenant = 'b'`);
    const reader = await f.server.createUser();
    await client.query(`GRANT SELECT ON public.plain TO ${reader}`);
    expect((await (await f.connect(reader)).query('SELECT * FROM public.plain')).rowCount).toBe(1);
    const { actions } = await f.setup();
    expect(actions.filter((a) => !a.sql.startsWith('GRANT'))).toEqual([]);
  });
});

describe('the capture of schema changes', () => {
  it('is silent for what Drover itself does, and makes its tables fit all the same', async () => {
    const f = await make({ sql: T });
    await f.root.query(`SELECT pg_replication_origin_create('drover_test'); SELECT pg_replication_origin_session_setup('drover_test');
      SET session_replication_role = replica; CREATE TABLE public.applied (tenant text PRIMARY KEY); ALTER TABLE public.t ADD c int;
      SELECT pg_replication_origin_session_reset(); RESET session_replication_role`);
    expect(await told(f)).toEqual([]);
    const { rows } = await f.root.query(`SELECT relrowsecurity FROM pg_class WHERE relname = 'applied'`);
    expect(rows).toEqual([{ relrowsecurity: true }]);
    // What it did is known: the next change is told against it.
    await f.root.query('ALTER TABLE public.t ADD d int');
    const [message] = await told(f);
    expect(message?.tables[0]?.before).toMatchObject({ columns: [{}, {}, {}, { name: 'c' }] });
    await f.root.query(`SELECT pg_replication_origin_drop('drover_test')`);
  });

  it('names a table that nothing tags to who makes it', async () => {
    const f = await make({ sql: T });
    const notices: string[] = [];
    f.root.on('notice', (n) => notices.push(String(n.message)));
    await f.root.query('CREATE TABLE public.whose (id int)');
    expect(notices).toEqual(['drover does not capture public.whose: public.whose has no column "tenant"']);
    expect(await told(f)).toEqual([]);
  });

  it('cannot be turned by a search path, nor told by hand', async () => {
    const f = await make({ sql: T });
    const owner = await f.server.createUser();
    await f.root.query(`GRANT CREATE ON SCHEMA public TO ${owner}`);
    const client = await f.connect(owner);
    await client
      .query(`SET search_path = public, pg_temp, pg_catalog;
      CREATE FUNCTION public.jsonb_build_object(VARIADIC "any") RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb' `)
      .catch(() => undefined);
    await client.query(
      `CREATE FUNCTION public.format_type(oid, int) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE ''mine''; END'`,
    );
    await client.query('CREATE TABLE public.clean (tenant text PRIMARY KEY)');
    expect((await told(f)).map((m) => m.tables[0]?.after?.name)).toEqual(['clean']);
    for (const call of [
      `pg_logical_emit_message(true, 'drover.ddl', '{}')`,
      `drover.ddl_sync(true)`,
      `drover.ddl_tell('x', '{}', '{}', '{}', '', false)`,
    ])
      expect(await sqlStateOf(client.query(`SELECT ${call}`)), call).toBe('42501');
  });

  it('tells with the next setup what was changed while nobody listened, and is taken away when it is switched off', async () => {
    const f = await make({ sql: T });
    await f.root.query('ALTER EVENT TRIGGER drover_ddl DISABLE; ALTER TABLE public.t ADD missed int');
    expect(
      (await planDdlCapture(f.root, { enabled: true, tagging: columnTagging('tenant') })).length,
    ).toBeGreaterThan(0);
    await f.setup();
    const [message, ...rest] = await told(f);
    expect(rest).toEqual([]);
    expect(message).toMatchObject({
      baseline: false,
      tables: [{ before: { columns: [{}, {}, {}] }, after: { columns: [{}, {}, {}, { name: 'missed' }] } }],
    });
    await f.root.query(`UPDATE drover.node SET fingerprint = 'older'`);
    await f.setup(); // over functions that belong to another role
    expect(await told(f)).toEqual([]);
    await f.setup({ resync: true });
    expect((await told(f)).map((m) => m.baseline)).toEqual([true]);
    await f.setup({ ddl: false });
    await f.root.query('ALTER TABLE public.t ADD silent int');
    expect(await told(f)).toEqual([]);
    expect((await f.root.query(`SELECT 1 FROM pg_event_trigger WHERE evtname LIKE 'drover%'`)).rows).toEqual(
      [],
    );
  });

  it('tells drops, and what goes with them', async () => {
    const f = await make({
      sql: `${T}; CREATE TYPE public.mood AS ENUM ('a', 'b');
        CREATE TABLE public.c (tenant text, id int, m public.mood, PRIMARY KEY (tenant, id), FOREIGN KEY (tenant, id) REFERENCES public.t); CREATE INDEX ci ON public.c (m)`,
    });
    await f.root.query(`ALTER TYPE public.mood ADD VALUE 'between' BEFORE 'b'`);
    expect((await told(f))[0]?.types[0]?.after?.labels?.map((l) => l.label)).toEqual(['a', 'between', 'b']);
    await f.root.query('DROP TYPE public.mood CASCADE');
    const [byType] = await told(f);
    expect(byType?.types).toMatchObject([{ after: null }]);
    expect(byType?.tables[0]?.after).toMatchObject({ columns: [{}, {}], indexes: [] });
    await f.root.query('DROP TABLE public.t CASCADE');
    const [byTable] = await told(f);
    expect(byTable?.tables.map((t) => [t.before?.name, t.after === null])).toEqual([
      ['c', false],
      ['t', true],
    ]);
  });

  it('classifies as the configuration does', async () => {
    const base = columnTagging('tenant', {
      reference: ['public.ref', 'shared.*'],
      exclude: ['public.no', 'gone.*'],
      overrides: { 'public.o': 'org', 'public.bad': 'nope' },
    });
    const f = await make({
      sql: `CREATE SCHEMA shared; CREATE SCHEMA gone; CREATE SCHEMA tenant_a; CREATE SCHEMA tenant__x; CREATE SCHEMA tenant_;
        CREATE TABLE public.a (tenant int); CREATE TABLE public.b (x int); CREATE TABLE public.ref (tenant int); CREATE TABLE public.no (tenant int); CREATE TABLE public.o (org int);
        CREATE TABLE public.bad (x int); CREATE TABLE shared.s (x int); CREATE TABLE gone.g (tenant int); CREATE TABLE tenant_a.t (x int); CREATE TABLE tenant__x.t (x int); CREATE TABLE tenant_.t (x int)`,
      tagging: base,
    });
    const modes: Tagging[] = [
      base,
      { ...base, mode: 'schema' },
      { ...base, mode: 'database', databasePrefix: 'drv_' },
      { ...base, mode: 'database' },
    ];
    for (const tagging of modes) {
      await f.root.query('UPDATE drover.capture SET tagging = $1', [JSON.stringify(tagging)]);
      for (const table of await readTables(f.root)) {
        const { rows } = await f.root.query('SELECT drover.ddl_class($1::oid) AS class', [table.oid]);
        const ours = rows[0].class as { kind: string };
        const columns = table.columns.map((c) => c.name);
        const theirs = classifyTable(tagging, {
          schema: table.schema,
          name: table.name,
          columns,
          database: f.database,
        });
        const { why: _, ...rest } = { why: '', ...ours };
        const { why: __, ...expected } = { why: '', ...theirs };
        expect(rest, `${tagging.mode} ${table.schema}.${table.name}`).toEqual(expected);
      }
    }
  });
});
