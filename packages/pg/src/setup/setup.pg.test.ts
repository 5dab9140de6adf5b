import { clusterId } from '@drover/core';
import { codeOf, ownPostgres, testPassword, testPostgres, unique } from '@drover/testkit';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { connectPg } from '../connect.ts';
import { doctor } from '../preflight/doctor.ts';
import { installDroverSchema, readNode } from '../schema/install.ts';
import { openTenant } from '../schema/moves.ts';
import { adoptTables } from './adopt.ts';
import {
  CONTEXT_KEY,
  columnTagging,
  type Fixture,
  fixture,
  PASSWORDS,
  sqlStateOf,
} from './fixture.testing.ts';
import { ensureOrigins } from './origins.ts';
import { ensurePublication, readPublished } from './publication.ts';
import { ensureRoles } from './roles.ts';
import { setupCluster } from './setup-cluster.ts';
import { dropSlot, ensureSlot, readSlotState } from './slot.ts';

const tagging = columnTagging('tenant');
const ORDERS =
  'CREATE TABLE public.orders (tenant text NOT NULL, id serial, note text, PRIMARY KEY (tenant, id));';
describe.each([16, 17, 18] as const)('setup on PostgreSQL %i', (major) => {
  let server: Awaited<ReturnType<typeof testPostgres>>;
  const open: Fixture[] = [];
  const make = async (options: Parameters<typeof fixture>[1] = {}) => {
    const f = await fixture(server, { tagging, ...options });
    open.push(f);
    return f;
  };
  beforeAll(async () => {
    server = await testPostgres({ major });
  });
  afterEach(async () => {
    for (const f of open.splice(0)) await f.close();
  });

  it('is a no-op the second time, down to the catalog rows', async () => {
    const f = await make({ sql: ORDERS, setup: false });
    const origins = ['drover_west_0', 'drover_west_1'];
    const first = await f.setup({ origins });
    expect(first.actions.length).toBeGreaterThan(10);
    const marks = async () =>
      (
        await f.root.query(
          `SELECT 'class' AS what, max(xmin::text::bigint) AS x FROM pg_class UNION ALL SELECT 'policy', max(xmin::text::bigint) FROM pg_policy
           UNION ALL SELECT 'role', max(xmin::text::bigint) FROM pg_authid UNION ALL SELECT 'proc', max(xmin::text::bigint) FROM pg_proc
           UNION ALL SELECT 'pub', max(xmin::text::bigint) FROM pg_publication_rel UNION ALL SELECT 'node', max(xmin::text::bigint) FROM drover.node
           UNION ALL SELECT 'origin', max(xmin::text::bigint) FROM pg_replication_origin ORDER BY 1`,
        )
      ).rows;
    const before = await marks();
    const steps: string[] = [];
    const second = await f.setup({ origins, progress: (event) => steps.push(event.step) });
    expect(second.actions).toEqual([]);
    expect(second.refused).toEqual([]);
    expect(await marks()).toEqual(before);
    expect(steps).toEqual(['roles', 'schema', 'protect', 'grants', 'publication', 'slot', 'ddl', 'origins']);
    expect((await readNode(f.root))?.generation).toBe(1);
    expect(JSON.stringify(first.actions)).not.toContain('SCRAM-SHA-256$4096');
  });

  it('makes roles that can log in and do their part, and mends them', async () => {
    const f = await make({ sql: ORDERS });
    const apply = await f.connect('drover_apply');
    await apply.query('SET session_replication_role = replica');
    await ensureOrigins(f.root, [`o_${f.database}`]);
    await apply.query('SELECT pg_replication_origin_session_setup($1)', [`o_${f.database}`]);
    await apply.query(`INSERT INTO public.orders (tenant, id) VALUES ('acme', 1)`);
    await apply.query('TRUNCATE public.orders');
    expect(await sqlStateOf(apply.query('UPDATE drover.tenant SET open = true'))).toBe('42501');
    expect(await sqlStateOf(apply.query('SELECT pad_inner FROM drover.node'))).toBe('42501');
    await apply.end();
    await f.root.query('SELECT pg_replication_origin_drop($1)', [`o_${f.database}`]);
    const cdc = await f.connect('drover_cdc');
    expect(await sqlStateOf(cdc.query('DELETE FROM public.orders'))).toBe('42501');
    await cdc.query('SELECT * FROM public.orders');
    await cdc.query('SELECT cluster, generation FROM drover.node');
    await f.root.query(`ALTER ROLE drover_tenant SUPERUSER PASSWORD 'other'`);
    await f.root.query('ALTER ROLE drover_cdc NOREPLICATION');
    const mended = await ensureRoles(f.root, PASSWORDS);
    expect(mended.map((a) => a.sql)).toEqual([
      'ALTER ROLE "drover_cdc" REPLICATION',
      `ALTER ROLE "drover_tenant" NOSUPERUSER PASSWORD '***'`,
    ]);
    await (await f.connect('drover_tenant')).query('SELECT 1');
  });

  it('keeps the application working that used the tables before', async () => {
    const app = await server.createUser(unique('app'));
    const owner = await server.createUser(unique('owner'));
    const f = await make({
      setup: false,
      sql: `${ORDERS} CREATE TABLE public.secured (tenant text NOT NULL, id int, team text, PRIMARY KEY (tenant, id));
        CREATE TABLE public.open (tenant text NOT NULL, id int, PRIMARY KEY (tenant, id));
        ALTER TABLE public.orders OWNER TO ${owner}; ALTER TABLE public.secured OWNER TO ${owner};
        GRANT SELECT, INSERT ON public.orders, public.secured TO ${app}; GRANT USAGE ON SEQUENCE public.orders_id_seq TO ${app};
        GRANT SELECT ON public.open TO PUBLIC; INSERT INTO public.open VALUES ('acme', 1), ('bolt', 1);
        ALTER TABLE public.secured ENABLE ROW LEVEL SECURITY;
        CREATE POLICY mine ON public.secured TO PUBLIC USING (team = current_user OR team = 'all');
        INSERT INTO public.orders (tenant) VALUES ('acme'), ('bolt');
        INSERT INTO public.secured VALUES ('acme', 1, 'all'), ('bolt', 1, 'nobody');`,
    });
    await f.setup();
    const [asApp, asOwner] = [await f.connect(app), await f.connect(owner)];
    expect((await asApp.query('SELECT * FROM public.orders')).rowCount).toBe(2);
    await asApp.query(`INSERT INTO public.orders (tenant) VALUES ('acme')`);
    expect((await asApp.query('SELECT * FROM public.open')).rowCount).toBe(2);
    // The application's own row security is neither widened for its users nor for tenants.
    expect((await asApp.query('SELECT * FROM public.secured')).rowCount).toBe(1);
    expect((await asOwner.query('SELECT * FROM public.secured')).rowCount).toBe(2);
    expect((await asOwner.query('UPDATE public.orders SET note = $1', ['x'])).rowCount).toBe(3);
    // COPY FROM and row_security = off (pg_dump) would fail for an owner under FORCE.
    await asOwner.query('SET row_security = off');
    expect((await asOwner.query('SELECT * FROM public.orders')).rowCount).toBe(3);
    expect(await sqlStateOf(asOwner.query(`COPY public.orders FROM '/nonexistent'`))).toBe('42501'); // the file, not the table
    expect(await sqlStateOf(asOwner.query('COPY public.orders (tenant) FROM PROGRAM $$true$$'))).toBe(
      '42501',
    );
    const s = await f.tenant('acme');
    expect((await s.client.query('SELECT * FROM public.orders')).rowCount).toBe(2);
    expect((await s.client.query('SELECT * FROM public.secured')).rowCount).toBe(1);
    expect((await s.client.query('SELECT * FROM public.open')).rowCount).toBe(1);
    await s.become('bolt', 1);
    expect((await s.client.query('SELECT * FROM public.secured')).rowCount).toBe(1);
    // Repeating it, and granting to another role meanwhile.
    const late = await server.createUser(unique('late'));
    await f.root.query(`GRANT SELECT ON public.orders, public.secured TO ${late}`);
    const again = await f.setup();
    expect(new Set(again.actions.map((a) => a.object))).toEqual(
      new Set(['built-in functions', 'table public.orders']),
    );
    const asLate = await f.connect(late);
    expect((await asLate.query('SELECT * FROM public.orders')).rowCount).toBe(3);
    expect((await asLate.query('SELECT * FROM public.secured')).rowCount).toBe(1);
    expect((await f.setup()).actions).toEqual([]);
    const warned = (await doctor(f.root, { cluster: 'east', tagging })).filter(
      (x) => x.code === 'direct_writer',
    );
    expect(warned.map((x) => x.object)).toEqual([`role ${app}`, `role ${owner}`].sort());
  });

  it('protects partitions and children, which tenants cannot reach directly either', async () => {
    const f = await make({
      sql: `CREATE TABLE public.log (tenant text NOT NULL, at int, note text, PRIMARY KEY (tenant, at)) PARTITION BY RANGE (at);
        CREATE TABLE public.log_1 PARTITION OF public.log FOR VALUES FROM (0) TO (100) PARTITION BY LIST (tenant);
        CREATE TABLE public.log_1a PARTITION OF public.log_1 FOR VALUES IN ('acme');
        CREATE TABLE public.log_1b PARTITION OF public.log_1 DEFAULT;
        CREATE TABLE public.log_2 PARTITION OF public.log FOR VALUES FROM (100) TO (200);
        INSERT INTO public.log VALUES ('acme', 1), ('bolt', 2), ('acme', 101), ('bolt', 102);`,
    });
    const s = await f.tenant('acme');
    expect((await s.client.query('SELECT at FROM public.log ORDER BY 1')).rows).toEqual([
      { at: 1 },
      { at: 101 },
    ]);
    for (const part of ['log_1', 'log_1a', 'log_1b', 'log_2']) {
      expect(await sqlStateOf(s.client.query(`SELECT * FROM public.${part}`)), part).toBe('42501');
      await f.root.query(`GRANT SELECT ON public.${part} TO drover_tenant`); // by mistake
    }
    expect((await s.client.query('SELECT * FROM public.log_2')).rowCount).toBe(1);
    expect((await s.client.query('SELECT * FROM public.log_1b')).rowCount).toBe(0);
    await openTenant(f.admin, { tenant: 'acme', epoch: 1 });
    await s.client.query(`INSERT INTO public.log VALUES ('acme', 50)`);
    await s.client.query(`UPDATE public.log SET at = 150 WHERE at = 50`);
    expect(await sqlStateOf(s.client.query(`INSERT INTO public.log VALUES ('bolt', 50)`))).toBe('42501');
    expect((await readPublished(f.root)).map((t) => t.name)).toEqual(['log']);
    await f.root.query('CREATE TABLE public.log_3 PARTITION OF public.log FOR VALUES FROM (200) TO (300)');
    const again = (await f.setup()).actions;
    expect(
      (await f.root.query(`SELECT relrowsecurity AS on FROM pg_class WHERE oid = 'public.log_3'::regclass`))
        .rows,
    ).toEqual([{ on: true }]); // when it was made
    expect(again.some((a) => a.sql.startsWith('REVOKE SELECT ON TABLE "public"."log_2"'))).toBe(true);
  });

  it('adopts partitioned tables leaf by leaf, and stops at rows without a tenant', async () => {
    const f = await make({
      setup: false,
      sql: `CREATE TABLE public.ev (id int, at int, tenant text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
        CREATE TABLE public.ev_1 PARTITION OF public.ev FOR VALUES FROM (0) TO (100);
        CREATE TABLE public.ev_2 PARTITION OF public.ev FOR VALUES FROM (100) TO (200);
        INSERT INTO public.ev VALUES (1, 1, 'acme'), (2, 101, NULL);`,
    });
    await expect(adoptTables(f.root, { tagging })).rejects.toMatchObject({ code: '23502' });
    await f.root.query('DELETE FROM public.ev WHERE tenant IS NULL');
    await f.setup({ adopt: true });
    const identity = await f.root.query(
      `SELECT indrelid::regclass::text AS t FROM pg_index WHERE indisreplident AND indrelid::regclass::text LIKE 'public.ev%' ORDER BY 1`,
    );
    expect(identity.rows.map((row) => row.t)).toEqual(['public.ev', 'public.ev_1', 'public.ev_2']);
    const parts = await f.root.query(
      `SELECT count(*)::int AS n FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent WHERE c.relname = 'drover_ev_identity'`,
    );
    expect(parts.rows[0].n).toBe(2); // the leaves' indexes were taken over, not made twice
    expect((await f.setup({ adopt: true })).actions).toEqual([]);
    await f.root.query(`DELETE FROM public.ev`);
    const changes = await f.root.query(
      `SELECT data FROM pg_logical_slot_peek_binary_changes($1, NULL, NULL, 'proto_version', '1', 'publication_names', 'drover')`,
      [`drover_${f.database}`],
    );
    const deletes = changes.rows
      .map((row) => (row.data as Buffer).toString('latin1'))
      .filter((data) => data.startsWith('D'));
    expect(deletes).toHaveLength(1);
    expect(deletes[0]).toContain('acme');
  });

  it('gives each tenant its own schema where schemas are tenants', async () => {
    const f = await make({
      tagging: columnTagging('tenant', { mode: 'schema', schemaPrefix: 't_', reference: ['public.plans'] }),
      sql: `CREATE SCHEMA t_acme; CREATE SCHEMA "t_o'neil"; CREATE TABLE public.plans (id int PRIMARY KEY);
        CREATE TABLE t_acme.orders (id int PRIMARY KEY); CREATE TABLE "t_o'neil".orders (id int PRIMARY KEY);
        INSERT INTO t_acme.orders VALUES (1), (2); INSERT INTO "t_o'neil".orders VALUES (3); INSERT INTO public.plans VALUES (1);`,
    });
    const s = await f.tenant('acme');
    const rows = async (sql: string) => (await s.client.query(sql)).rowCount;
    expect(await rows('SELECT * FROM t_acme.orders')).toBe(2);
    expect(await rows(`SELECT * FROM "t_o'neil".orders`)).toBe(0);
    await s.become("o'neil", 1);
    expect(await rows('SELECT * FROM t_acme.orders')).toBe(0);
    expect(await rows(`SELECT * FROM "t_o'neil".orders`)).toBe(1);
    expect(await rows('SELECT * FROM public.plans')).toBe(1);
    expect(await sqlStateOf(s.client.query('INSERT INTO public.plans VALUES (2)'))).toBe('42501');
    await openTenant(f.admin, { tenant: "o'neil", epoch: 1 });
    await s.client.query(`INSERT INTO "t_o'neil".orders VALUES (9)`);
    expect(await sqlStateOf(s.client.query('INSERT INTO t_acme.orders VALUES (9)'))).toBe('42501');
    expect((await f.setup()).actions).toEqual([]);
  });

  it('changes its own publication only, and refuses one that is not its own', async () => {
    const f = await make({
      sql: `${ORDERS} CREATE TABLE public.more (tenant text PRIMARY KEY); CREATE PUBLICATION theirs FOR TABLE public.orders`,
      setup: false,
    });
    const name = (table: string) => ({ schema: 'public', name: table });
    expect(await ensurePublication(f.root, [name('orders')])).toHaveLength(1);
    expect(await ensurePublication(f.root, [name('orders'), name('more')])).toMatchObject([
      { sql: expect.stringContaining('ADD TABLE "public"."more"') },
    ]);
    expect(await ensurePublication(f.root, [name('more')])).toMatchObject([
      { sql: expect.stringContaining('DROP TABLE "public"."orders"') },
    ]);
    expect(await ensurePublication(f.root, [name('more')])).toEqual([]);
    await f.root.query(`ALTER PUBLICATION drover SET (publish = 'insert')`);
    expect(await ensurePublication(f.root, [name('more')])).toHaveLength(1);
    expect(
      (await f.root.query(`SELECT tablename FROM pg_publication_tables WHERE pubname = 'theirs'`)).rowCount,
    ).toBe(1);
    await f.root.query('DROP PUBLICATION drover; CREATE PUBLICATION drover FOR ALL TABLES');
    expect(await codeOf(ensurePublication(f.root, []))).toBe('pg.publication_foreign');
  });

  it('makes the slot once, counts generations, and neither drops nor takes slots of others', async () => {
    const f = await make();
    const name = `drover_${f.database}`;
    expect(await ensureSlot(f.root, name, { failover: true })).toEqual({
      created: false,
      generation: 1,
      failover: major >= 17,
    });
    expect(await dropSlot(f.root, name)).toBe(true);
    expect(await dropSlot(f.root, name)).toBe(false);
    expect(await ensureSlot(f.root, name, { failover: false })).toEqual({
      created: true,
      generation: 2,
      failover: false,
    });
    const other = await make({ setup: false });
    expect(await codeOf(ensureSlot(other.root, name, { failover: false }))).toBe('pg.slot_foreign');
    expect(await dropSlot(other.root, name)).toBe(false);
    await f.root.query(`SELECT pg_create_physical_replication_slot('phys_${f.database}')`);
    expect(await codeOf(ensureSlot(f.root, `phys_${f.database}`, { failover: false }))).toBe(
      'pg.slot_foreign',
    );
    await f.root.query(`SELECT pg_drop_replication_slot('phys_${f.database}')`);
    expect((await readSlotState(f.root, name))?.plugin).toBe('pgoutput');
  });

  it('refuses a database of another cluster, a foreign schema, and a newer one', async () => {
    const f = await make();
    const install = (cluster: string) =>
      installDroverSchema(f.root, { cluster: clusterId(cluster), contextKey: CONTEXT_KEY });
    expect(await codeOf(install('west'))).toBe('pg.identity_changed');
    expect(await install('east')).toEqual({ changed: false });
    await f.root.query('UPDATE drover.node SET version = 99');
    expect(await codeOf(install('east'))).toBe('pg.schema_newer');
    const g = await make({ setup: false, sql: 'CREATE SCHEMA drover' });
    expect(await codeOf(g.setup())).toBe('pg.schema_foreign');
  });

  it('takes a new context key at once', async () => {
    const f = await make({ sql: ORDERS });
    await f.root.query(`INSERT INTO public.orders (tenant) VALUES ('acme')`);
    const s = await f.tenant('acme');
    expect((await s.client.query('SELECT * FROM public.orders')).rowCount).toBe(1);
    expect(
      await installDroverSchema(f.root, { cluster: clusterId('east'), contextKey: Buffer.alloc(32, 9) }),
    ).toEqual({ changed: true });
    expect((await s.client.query('SELECT * FROM public.orders')).rowCount).toBe(0);
    expect((await readNode(f.root))?.generation).toBe(1);
  });

  it('can be run twice at a time', async () => {
    const f = await make({ setup: false });
    const results = await Promise.all(
      Array.from({ length: 3 }, async () => {
        const client = await f.connect('postgres');
        return installDroverSchema(client, { cluster: clusterId('east'), contextKey: CONTEXT_KEY });
      }),
    );
    expect(results.filter((r) => r.changed)).toHaveLength(1);
  });
});

describe('setup on a server of its own', () => {
  let server: Awaited<ReturnType<typeof ownPostgres>>;
  beforeAll(async () => {
    server = await ownPostgres({ settings: { max_replication_slots: 2, max_wal_senders: 4 } });
  });
  afterAll(() => server.stop());

  it('works for a role that is no superuser, and says what it must leave to one', async () => {
    const who = await server.createUser('setup_user', 'CREATEROLE REPLICATION BYPASSRLS');
    const database = await server.createDatabase('limited');
    const root = await server.connect(database);
    await root.query(
      `GRANT CREATE ON DATABASE ${database} TO ${who}; GRANT CREATE ON SCHEMA public TO ${who}`,
    );
    const owner = await connectPg(server.connection(database, who));
    await owner.query(ORDERS);
    const options = {
      cluster: clusterId('east'),
      databases: [database],
      connect: (name: string) => connectPg({ ...server.connection(name, who), password: testPassword(who) }),
      passwords: PASSWORDS,
      contextKey: CONTEXT_KEY,
      tagging,
      origins: [],
    };
    const run = () => setupCluster(options);
    const result = await run();
    expect(result.refused.map((a) => a.sql)).toEqual(
      expect.arrayContaining([
        'GRANT "pg_read_all_stats" TO "drover_admin"',
        'GRANT SET ON PARAMETER session_replication_role TO "drover_apply"',
      ]),
    );
    const missing = (await doctor(owner, { cluster: 'east', tagging })).filter((f) => f.severity === 'error');
    expect([...new Set(missing.map((f) => f.code))]).toEqual(['privilege_missing', 'ddl_capture']);
    for (const f of missing) if (f.sql !== undefined) await root.query(f.sql);
    await setupCluster({ ...options, connect: (name) => connectPg(server.connection(name)) }); // event triggers
    expect((await doctor(owner, { cluster: 'east', tagging })).filter((f) => f.severity === 'error')).toEqual(
      [],
    );
    expect((await run()).refused).toEqual([]);
    await Promise.all([owner.end(), root.end()]);
  });

  it('says so when no slot is left, and drops none', async () => {
    const database = await server.createDatabase('slots');
    const root = await connectPg(server.connection(database));
    await root.query(`SELECT pg_create_physical_replication_slot('standby_of_somebody')`);
    await ensureRoles(root, PASSWORDS);
    await installDroverSchema(root, { cluster: clusterId('east'), contextKey: CONTEXT_KEY });
    const findings = await doctor(root, { cluster: 'east', tagging });
    expect(findings.find((f) => f.code === 'replication_slots')?.sql).toBe(
      'ALTER SYSTEM SET max_replication_slots = 8;',
    );
    const error = await ensureSlot(root, 'drover_x', { failover: false }).catch((e: unknown) => e);
    expect(error).toMatchObject({
      code: 'pg.slots_exhausted',
      hint: expect.stringContaining('standby_of_somebody'),
    });
    expect((await root.query('SELECT 1 FROM pg_replication_slots')).rowCount).toBe(2);
    await root.query(`SELECT pg_drop_replication_slot('standby_of_somebody')`);
    // Waiting for older transactions is reported, not silent.
    const busy = new pg.Client(server.connection(database));
    await busy.connect();
    await busy.query('BEGIN; SELECT pg_current_xact_id()');
    let waits = 0;
    const creating = ensureSlot(root, 'drover_x', { failover: false, onWait: (older) => (waits = older) });
    await expect.poll(() => waits).toBe(1);
    await busy.end();
    expect((await creating).created).toBe(true);
    await root.end();
  });

  it('names wal_level and friends', async () => {
    const other = await ownPostgres({
      settings: {
        wal_level: 'replica',
        max_wal_senders: 0,
        max_replication_slots: 0,
        max_active_replication_origins: 0,
      },
    });
    const root = await connectPg(other.connection());
    const found = await doctor(root, { cluster: 'east', tagging, origins: 16 });
    expect(found.filter((f) => f.object === 'server').map((f) => f.code)).toEqual([
      'wal_level',
      'replication_slots',
      'wal_senders',
      'replication_origins',
    ]);
    await root.end();
    await other.stop();
  });
});
