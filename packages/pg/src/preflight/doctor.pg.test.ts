import { testPostgres } from '@drover/testkit';
import type pg from 'pg';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { slotName } from '../names.ts';
import { adoptTables } from '../setup/adopt.ts';
import { columnTagging, type Fixture, fixture } from '../setup/fixture.testing.ts';
import { doctor } from './doctor.ts';
import type { Finding } from './finding.ts';
import { doctorPair } from './pair.ts';
import { PGBENCH_TABLES } from './pgbench.testing.ts';

const brief = (findings: readonly Finding[], severity: Finding['severity']) =>
  findings
    .filter((f) => f.severity === severity)
    .map((f) => `${f.code} ${f.object}`)
    .sort();

describe.each([16, 17, 18] as const)('doctor on PostgreSQL %i', (major) => {
  let server: Awaited<ReturnType<typeof testPostgres>>;
  const open: Fixture[] = [];
  const make = async (...args: Parameters<typeof fixture> extends [unknown, ...infer R] ? R : never) => {
    const f = await fixture(server, ...args);
    open.push(f);
    return f;
  };
  beforeAll(async () => {
    server = await testPostgres({ major });
    // Roles are of the server: other files may have made them already.
    await (await make({})).close();
    open.pop();
  });
  afterEach(async () => {
    for (const f of open.splice(0)) await f.close();
  });

  it("names every obstacle of pgbench's schema, and is clean when its SQL has been run", async () => {
    const tagging = columnTagging('bid');
    const f = await make({ sql: PGBENCH_TABLES, tagging, setup: false });
    const ask = () => doctor(f.root, { cluster: 'east', tagging });
    const before = await ask();
    expect(brief(before, 'error')).toEqual([
      'identity_without_tenant table public.pgbench_accounts',
      'identity_without_tenant table public.pgbench_tellers',
      'missing_primary_key table public.pgbench_history',
      'nullable_tenant_column table public.pgbench_accounts',
      'nullable_tenant_column table public.pgbench_tellers',
      'privilege_missing built-in functions',
      'privilege_missing role drover_apply', // replication origins, which are granted in each database
      'publication_missing publication drover',
      'schema_missing schema drover',
      `slot_missing slot ${slotName(f.database)}`,
    ]);
    expect(brief(before, 'warning')).toEqual([
      'global_key index public.pgbench_accounts_pkey',
      'global_key index public.pgbench_tellers_pkey',
      'nullable_tenant_column table public.pgbench_history',
    ]);
    await runAll(f.root, before);
    expect(brief(await ask(), 'error')).toEqual([
      'schema_missing schema drover',
      `slot_missing slot ${slotName(f.database)}`,
    ]);
    await f.setup();
    const after = await ask();
    expect(brief(after, 'error')).toEqual([]);
    expect(brief(after, 'warning')).toEqual([
      'ddl_superuser_owner role postgres',
      'global_key index public.pgbench_accounts_pkey',
      'global_key index public.pgbench_tellers_pkey',
      'missing_primary_key table public.pgbench_history', // REPLICA IDENTITY FULL now; slow, which is to be known
    ]);
    expect(brief(after, 'ok')).toEqual([
      'ddl_capture schema changes',
      'publication publication drover',
      'schema schema drover',
      'sequences sequences',
      'server server',
      `slot slot ${slotName(f.database)}`,
      `tables database ${f.database}`,
    ]);
  });

  it('setup with adoption does the same in one go, and then nothing any more', async () => {
    const tagging = columnTagging('bid');
    const f = await make({ sql: PGBENCH_TABLES, tagging, setup: false });
    const first = await f.setup({ adopt: true });
    expect(first.refused).toEqual([]);
    expect(brief(await doctor(f.root, { cluster: 'east', tagging }), 'error')).toEqual([]);
    expect((await f.setup({ adopt: true })).actions).toEqual([]);
    expect(await adoptTables(f.root, { tagging })).toEqual([]);
    // And the WAL names the tenant of a deleted row, which pgbench's own schema does not.
    const old = await f.root.query(
      `SELECT pg_catalog.pg_get_indexdef(indexrelid) AS d FROM pg_index WHERE indrelid = 'public.pgbench_accounts'::regclass AND indisreplident`,
    );
    expect(old.rows[0].d).toContain('(bid, aid)');
  });

  it('names obstacles of tables, keys and what surrounds them', async () => {
    const tagging = columnTagging('tenant', { reference: ['public.countries'], exclude: ['public.scratch'] });
    const f = await make({
      tagging,
      setup: false,
      sql: `
        CREATE TABLE public.parent (tenant text NOT NULL, id int, PRIMARY KEY (tenant, id), email text UNIQUE, UNIQUE (id));
        CREATE TABLE public.child (id int, tenant text NOT NULL, parent int REFERENCES public.parent (id) ON DELETE CASCADE, PRIMARY KEY (id, tenant));
        CREATE TABLE public.good_child (tenant text NOT NULL, id int, parent int, PRIMARY KEY (tenant, id), FOREIGN KEY (tenant, parent) REFERENCES public.parent (tenant, id));
        CREATE TABLE public.countries (code text PRIMARY KEY);
        CREATE TABLE public.scratch (x int);
        CREATE TABLE public.mystery (x int PRIMARY KEY);
        CREATE TABLE public.odd (tenant numeric NOT NULL, id int, PRIMARY KEY (tenant, id));
        CREATE UNLOGGED TABLE public.fast (tenant text NOT NULL PRIMARY KEY);
        CREATE TABLE public.none (tenant text NOT NULL PRIMARY KEY); ALTER TABLE public.none REPLICA IDENTITY NOTHING;
        CREATE VIEW public.v AS SELECT * FROM public.parent;
        CREATE VIEW public.vv AS SELECT * FROM public.v;
        CREATE VIEW public.ok_view WITH (security_invoker = true) AS SELECT * FROM public.parent;
        CREATE VIEW public.harmless AS SELECT * FROM public.countries;
        CREATE MATERIALIZED VIEW public.m AS SELECT count(*) FROM public.parent;
        CREATE FUNCTION public.secret(a int) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM public.parent';
        GRANT TRUNCATE, SELECT ON public.parent TO PUBLIC;`,
    });
    const found = await doctor(f.root, { cluster: 'east', tagging });
    const of = (code: string) => found.filter((x) => x.code === code).map((x) => x.object);
    expect(of('unclassified_table')).toEqual(['table public.mystery']);
    expect(of('tenant_column_type')).toEqual(['table public.odd']);
    expect(of('unlogged_table')).toEqual(['table public.fast']);
    expect(of('identity_without_tenant')).toEqual(['table public.none']);
    expect(of('foreign_key_without_tenant')).toEqual(['constraint public.child.child_parent_fkey']);
    expect(of('global_key')).toEqual(['index public.parent_email_key', 'index public.parent_id_key']);
    expect(of('key_order')).toEqual(['index public.child_pkey']);
    expect(of('view_of_owner').sort()).toEqual(['view public.v', 'view public.vv']);
    expect(of('materialized_view')).toEqual(['materialized view public.m']);
    expect(of('security_definer')).toEqual(['function public.secret(a integer)']);
    expect(of('public_rights')).toEqual(['table public.parent']);
    await runAll(f.root, found);
    await f.setup({ adopt: true });
    const left = await doctor(f.root, { cluster: 'east', tagging });
    expect(brief(left, 'error')).toEqual([
      'tenant_column_type table public.odd',
      'unclassified_table table public.mystery',
    ]);
    // The materialised view stays what it is; unique keys and key orders are the application's to change.
    expect([...new Set(left.filter((x) => x.severity === 'warning').map((x) => x.code))].sort()).toEqual([
      'ddl_superuser_owner',
      'global_key',
      'key_order',
      'materialized_view',
    ]);
    // A table that cannot be protected is not given to tenants.
    const s = await f.tenant();
    await expect(s.client.query('SELECT * FROM public.odd')).rejects.toMatchObject({ code: '42501' });
    await expect(s.client.query('SELECT * FROM public.mystery')).rejects.toMatchObject({ code: '42501' });
    expect((await s.client.query('SELECT * FROM public.countries')).rowCount).toBe(0);
  });

  it('notices what is undone after setup, and its SQL does it again', async () => {
    const tagging = columnTagging('tenant');
    const f = await make({
      tagging,
      sql: 'CREATE TABLE public.orders (tenant text NOT NULL, id int, PRIMARY KEY (tenant, id))',
    });
    const ask = () => doctor(f.root, { cluster: 'east', tagging });
    const undo = async (sql: string, code: string) => {
      await f.root.query(sql);
      const found = await ask();
      expect(
        brief(found, 'error').map((x) => x.split(' ')[0]),
        sql,
      ).toContain(code);
      await runAll(f.root, found);
      expect(brief(await ask(), 'error'), sql).toEqual([]);
    };
    expect(brief(await ask(), 'error')).toEqual([]);
    await undo('ALTER TABLE public.orders DISABLE ROW LEVEL SECURITY', 'not_protected');
    await undo('ALTER TABLE public.orders NO FORCE ROW LEVEL SECURITY', 'not_protected');
    await undo('DROP POLICY drover_select ON public.orders', 'not_protected');
    await undo('ALTER POLICY drover_delete ON public.orders USING (true)', 'not_protected');
    await undo(
      'ALTER POLICY drover_select ON public.orders USING (tenant = (SELECT drover.tenant()) OR true)',
      'not_protected',
    );
    await undo('ALTER POLICY drover_insert ON public.orders TO PUBLIC', 'not_protected');
    await undo('GRANT TRUNCATE ON public.orders TO drover_tenant', 'privilege_missing');
    await undo('REVOKE UPDATE ON public.orders FROM drover_apply', 'privilege_missing');
    await undo('ALTER PUBLICATION drover DROP TABLE public.orders', 'publication_tables');
    await undo('ALTER PUBLICATION drover SET TABLE public.orders WHERE (id > 5)', 'publication_tables');
    await undo('DROP PUBLICATION drover', 'publication_missing');
    await undo(
      'REVOKE EXECUTE ON FUNCTION pg_replication_origin_session_setup(text) FROM drover_apply',
      'privilege_missing',
    );
    await undo('GRANT pg_read_all_settings TO drover_tenant', 'tenant_membership');
    await undo('ALTER ROLE drover_apply NOBYPASSRLS', 'role_attributes');
    await undo('ALTER TABLE drover.tenant ENABLE TRIGGER ALL', 'tenant_form');
    await undo('ALTER ROLE drover_tenant BYPASSRLS', 'role_attributes');
    await f.root.query(`UPDATE drover.node SET fingerprint = 'old'`);
    expect(brief(await ask(), 'error')).toEqual(['schema_outdated schema drover']);
    await f.root.query(`UPDATE drover.node SET fingerprint = 'old', version = 99`);
    expect(brief(await ask(), 'error')).toEqual(['schema_newer schema drover']);
    await f.root.query(
      `UPDATE drover.node SET version = 1, system_id = '1', cluster = 'other', fingerprint = ''`,
    );
    expect(brief(await ask(), 'error')).toEqual([
      'schema_of_other_cluster schema drover',
      'schema_outdated schema drover',
      'system_changed schema drover',
    ]);
  });

  it('compares a replica with its source', async () => {
    const tagging = columnTagging('tenant');
    const source = await make({
      tagging,
      setup: false,
      sql: `CREATE TABLE public.same (tenant text NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (tenant, id));
        CREATE TABLE public.gone (tenant text NOT NULL PRIMARY KEY);
        CREATE TABLE public.differs (tenant text NOT NULL, id int, price numeric(10,2), extra int, note text, total int, PRIMARY KEY (tenant, id));
        CREATE TABLE public.keyless (tenant text NOT NULL, id int, PRIMARY KEY (tenant, id));`,
    });
    const target = await make({
      tagging,
      setup: false,
      sql: `CREATE TABLE public.same (tenant text NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (tenant, id));
        CREATE TABLE public.differs (tenant text NOT NULL, id int, price numeric(8,2), note text NOT NULL, needed int NOT NULL, total int GENERATED ALWAYS AS (id * 2) STORED, PRIMARY KEY (tenant, id));
        CREATE TABLE public.keyless (tenant text NOT NULL, id int);
        CREATE FUNCTION public.tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER always BEFORE INSERT ON public.same FOR EACH ROW EXECUTE FUNCTION public.tf();
        ALTER TABLE public.same ENABLE ALWAYS TRIGGER always;`,
    });
    const ask = () => doctorPair(source.root, target.root, { tagging, targetName: 'west' });
    const found = await ask();
    expect(brief(found, 'error')).toEqual([
      'column_extra table public.differs',
      'column_missing table public.differs',
      'generated_differs table public.differs',
      'not_null_differs table public.differs',
      'primary_key_differs table public.keyless',
      'table_missing table public.gone',
      'type_differs table public.differs',
    ]);
    expect(brief(found, 'warning')).toEqual([
      'identity_differs table public.keyless',
      'trigger_fires_on_replica table public.same',
    ]);
    await runAll(target.root, found);
    expect(brief(await ask(), 'error')).toEqual([
      'generated_differs table public.differs',
      'primary_key_differs table public.keyless',
      'table_missing table public.gone',
    ]);
    expect(brief(await doctorPair(source.root, source.root, { tagging }), 'error')).toEqual([
      'same_system cluster target',
    ]);
  });
});

/** As an operator would: one statement after the other. */
async function runAll(client: pg.Client, findings: readonly Finding[]): Promise<void> {
  for (const f of findings) {
    if (f.sql === undefined) continue;
    expect(f.sql).toBe(f.statements?.map((s) => `${s};`).join('\n'));
    await client.query(f.sql);
  }
}
