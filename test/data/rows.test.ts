/** What a row change must do at the replica, whatever the table is like (pitfalls 31 to 43, 45, 53, 55). */
import { doctor } from '@drover/pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DataWorld } from './world.ts';

/** Numbers of rows below and above which apply writes row by row and in sets. */
const SIZES = [3, 24];

describe('rows', () => {
  let world: DataWorld;
  beforeAll(async () => {
    world = await DataWorld.start();
    await world.tenant('a', 'b', '_shared');
  });
  afterAll(() => world.close());

  const reasons = async (): Promise<string[]> =>
    (await world.stopped()).map(({ tenant, reason }) => `${tenant} ${reason}`);

  /** As `drover ledger retry` does. */
  const retry = async (): Promise<void> => {
    await world.target.query(
      `UPDATE drover.ledger SET status = 'retried', resolved_at = now(), resolved_by = 'test' WHERE status = 'open'`,
    );
    await world.target.query(
      `UPDATE drover.tenant SET feed = 'catchup', reason = NULL WHERE feed = 'parked'`,
    );
  };

  /** Incompressible, so out of line. */
  const BIG = `(SELECT string_agg(md5(i::text || random()::text), '') FROM generate_series(1, 90) i)`;

  describe('31 to 33: values out of line that an update does not send', () => {
    const COLUMNS = 't text, b bytea, j jsonb, n numeric[], ts text[], x xml, big text';
    const VALUES = `${BIG}, convert_to(${BIG}, 'utf8'), jsonb_build_object('k', ${BIG}), (SELECT array_agg(random()::numeric) FROM generate_series(1, 400)),
      ARRAY[${BIG}, NULL], ('<a>' || ${BIG} || '</a>')::xml, repeat(${BIG}, 3)`;

    it.each(['DEFAULT', 'FULL', 'USING INDEX p31_i', 'FULL without a key'])(
      'stay, under %s',
      async (identity) => {
        const keyless = identity.endsWith('key');
        await world.tables(`DROP TABLE IF EXISTS p31; CREATE TABLE p31 (tenant text NOT NULL, id int NOT NULL, v int DEFAULT 0, ${COLUMNS}${keyless ? '' : ', PRIMARY KEY (tenant, id)'});
        ALTER TABLE p31 ALTER t SET STORAGE EXTERNAL, ALTER big SET STORAGE EXTERNAL; CREATE UNIQUE INDEX p31_i ON p31 (id, tenant);
        ALTER TABLE p31 REPLICA IDENTITY ${identity.replace(' without a key', '')};`);
        for (const [n, size] of SIZES.entries()) {
          const ids = `id BETWEEN ${n * 1000} AND ${n * 1000 + 999}`;
          await world.write(
            `INSERT INTO p31 SELECT 'a', ${n * 1000} + i, 0, ${VALUES} FROM generate_series(1, ${size}) i`,
          );
          await world.same(['p31']);
          // From an earlier batch; then several times in one transaction, with one of the values set in between.
          await world.write(
            `UPDATE p31 SET v = 1 WHERE ${ids}`,
            `BEGIN; UPDATE p31 SET v = 2 WHERE ${ids}; UPDATE p31 SET t = ${BIG} WHERE ${ids} AND id % 2 = 0; UPDATE p31 SET v = 3 WHERE ${ids}; UPDATE p31 SET b = NULL WHERE ${ids} AND id % 3 = 0; UPDATE p31 SET v = 4 WHERE ${ids}; COMMIT`,
            // Inserted and updated in one transaction.
            `BEGIN; INSERT INTO p31 SELECT 'a', ${n * 1000} + 500 + i, 0, ${VALUES} FROM generate_series(1, ${size}) i; UPDATE p31 SET v = 5 WHERE ${ids} AND id % 1000 > 500; COMMIT`,
            // The key moves, and the values with it; also right after the row came, and twice.
            `UPDATE p31 SET id = id + 100, v = 6 WHERE ${ids} AND id % 1000 < 3`,
            `BEGIN; INSERT INTO p31 SELECT 'a', ${n * 1000} + 700 + i, 0, ${VALUES} FROM generate_series(1, ${size}) i; UPDATE p31 SET id = id + 100 WHERE ${ids} AND id % 1000 > 700; UPDATE p31 SET v = 7, id = id + 100 WHERE ${ids} AND id % 1000 > 800; COMMIT`,
            `BEGIN; UPDATE p31 SET v = 8 WHERE ${ids} AND id % 5 = 0; DELETE FROM p31 WHERE ${ids} AND id % 5 = 0; COMMIT`,
          );
          await world.same(['p31']);
        }
      },
    );

    it('10 MB of it', async () => {
      await world.tables(
        'CREATE TABLE p31m (tenant text, id int, v int, t text, b bytea, PRIMARY KEY (tenant, id)); ALTER TABLE p31m ALTER t SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL',
      );
      await world.write(
        `INSERT INTO p31m SELECT 'a', i, 0, repeat(md5(i::text), 330000), decode(repeat(md5(i::text), 330000), 'hex') FROM generate_series(1, 2) i`,
        'UPDATE p31m SET v = 1',
        'UPDATE p31m SET id = id + 10, v = 2',
      );
      await world.same(['p31m']);
    });

    it('in the key itself', async () => {
      await world.tables(
        'CREATE TABLE p31k (tenant text, k text, v int, w text, PRIMARY KEY (tenant, k)); ALTER TABLE p31k ALTER k SET STORAGE EXTERNAL',
      );
      const key = `(SELECT string_agg(md5(g.i::text || n), '') FROM generate_series(1, 70) n)`;
      for (const size of SIZES) {
        await world.write(
          `INSERT INTO p31k SELECT 'b', ${key}, g.i, repeat('w', 900) FROM generate_series(${size * 10}, ${size * 11}) g(i)`,
          `UPDATE p31k SET w = 'x' WHERE v % 2 = 0`,
          `BEGIN; UPDATE p31k SET v = v + 1000; UPDATE p31k SET w = w || 'y'; COMMIT`,
          `UPDATE p31k SET k = k || 'new' WHERE v % 3 = 0`,
          `DELETE FROM p31k WHERE v % 4 = 0`,
        );
      }
      await world.same(['p31k']);
    });
  });

  it('34: of identical rows without a key, each change meets one, also where equal values look different', async () => {
    await world.tables(`CREATE EXTENSION IF NOT EXISTS citext; CREATE EXTENSION IF NOT EXISTS hstore; CREATE EXTENSION IF NOT EXISTS ltree; CREATE EXTENSION IF NOT EXISTS cube;
      CREATE TYPE pair34 AS (a int, b text); CREATE TYPE mood34 AS ENUM ('sad', 'ok');
      CREATE TABLE p34 (tenant text, v text, n numeric, f float8, i interval, j json, jb jsonb, c citext, h hstore, l ltree, q cube, p pair34, m mood34, a numeric[], x xml, pt point, bp char(3));
      ALTER TABLE p34 REPLICA IDENTITY FULL;`);
    const row = (n: string, f: string, i: string, jb: string, c: string): string =>
      `('a', 'v', ${n}, '${f}', '${i}', '{"a": 1}', '${jb}', '${c}', 'a=>1', 'a.b', '(1,2)', '(1,x)', 'ok', '{1.0}', '<a/>', '(1,2)', 'x')`;
    const alike = [
      row('1.0', '0', '1 mon', '{"a": 1.0}', 'A'),
      row('1.00', '-0', '30 days', '{"a": 1.00}', 'a'),
      row('1.0', '0', '1 mon', '{"a": 1.0}', 'A'),
    ];
    await world.write(
      `INSERT INTO p34 VALUES ${[...alike, ...alike, ...alike].join(', ')}`,
      "INSERT INTO p34 (tenant, v) SELECT 'a', NULL FROM generate_series(1, 5)",
    );
    await world.same(['p34']);
    const one = (where: string): string => `WHERE ctid = (SELECT max(ctid) FROM p34 WHERE ${where})`;
    const looks = `n::text = '1.00'`;
    await world.write(
      `DELETE FROM p34 ${one(looks)}`,
      `DELETE FROM p34 ${one(`c::text = 'A'`)}`,
      `UPDATE p34 SET v = 'w' ${one(looks)}`,
      `UPDATE p34 SET v = 'w' ${one(`f::text = '0'`)}`,
      `UPDATE p34 SET n = 1.000 ${one(looks)}`,
      `UPDATE p34 SET v = 'was null' ${one('v IS NULL')}`,
      `DELETE FROM p34 ${one('v IS NULL')}`,
      `BEGIN; UPDATE p34 SET v = v || '!' WHERE v IS NOT NULL; DELETE FROM p34 ${one(`c::text = 'a'`)}; COMMIT`,
    );
    await world.same(['p34']);
    await world.write('DELETE FROM p34');
    await world.same(['p34']);
  });

  it('35: no identity: inserts are replicated, updates refused by PostgreSQL, and both said beforehand', async () => {
    await world.tables(
      'CREATE TABLE p35 (tenant text, v int); CREATE TABLE p35n (tenant text, id int PRIMARY KEY, v int); ALTER TABLE p35n REPLICA IDENTITY NOTHING',
    );
    const found = await doctor(world.source, { cluster: 'east', tagging: world.config.tagging });
    const about = (table: string) =>
      found.filter((f) => f.object === `table public.${table}` && f.severity === 'error').map((f) => f.code);
    expect(about('p35')).toContain('missing_primary_key');
    expect(about('p35n')).toContain('identity_without_tenant');
    for (const table of ['p35', 'p35n']) {
      await world.write(
        `INSERT INTO ${table} (tenant, ${table === 'p35' ? 'v' : 'id, v'}) VALUES ('a', 1${table === 'p35' ? '' : ', 1'})`,
      );
      for (const sql of [`UPDATE ${table} SET v = 2`, `DELETE FROM ${table}`])
        await expect(world.source.query(sql)).rejects.toMatchObject({ code: '55000' });
    }
    await world.same(['p35', 'p35n']);
  });

  describe('37: TRUNCATE', () => {
    it('of reference tables empties the same ones, with and without the identity begun anew', async () => {
      await world.tables(`CREATE TABLE shared.p37a (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, v int); CREATE TABLE shared.p37b (id int PRIMARY KEY, a int REFERENCES shared.p37a);
        CREATE TABLE shared.p37c (id int PRIMARY KEY)`);
      const fill =
        'INSERT INTO shared.p37a (v) SELECT i FROM generate_series(1, 30) i; INSERT INTO shared.p37b SELECT id, id FROM shared.p37a; INSERT INTO shared.p37c VALUES (1) ON CONFLICT DO NOTHING';
      await world.write(
        fill,
        'TRUNCATE shared.p37a CASCADE',
        fill,
        'TRUNCATE shared.p37a, shared.p37b RESTART IDENTITY',
        fill,
      );
      await world.same(['shared.p37a', 'shared.p37b', 'shared.p37c']);
      await world.write(
        `BEGIN; TRUNCATE shared.p37b; ${fill}; TRUNCATE shared.p37b; INSERT INTO shared.p37b VALUES (1, 1); TRUNCATE shared.p37c; COMMIT`,
      );
      await world.same(['shared.p37a', 'shared.p37b', 'shared.p37c']);
    });

    it('that would have to empty a table of the replica alone stops, loudly', async () => {
      await world.tables(
        'CREATE TABLE shared.p37d (id int PRIMARY KEY)',
        'CREATE TABLE shared.p37d (id int PRIMARY KEY); CREATE SCHEMA IF NOT EXISTS own; CREATE TABLE own.p37e (id int PRIMARY KEY REFERENCES shared.p37d)',
      );
      await world.write('INSERT INTO shared.p37d VALUES (1), (2)');
      await world.same(['shared.p37d']);
      await world.target.query('INSERT INTO own.p37e VALUES (1)');
      await world.write('TRUNCATE shared.p37d');
      await world.settled();
      expect(await reasons()).toEqual([expect.stringMatching(/^_shared .*p37e|^_shared .*foreign key/)]);
      await world.target.query('DROP TABLE own.p37e');
      await retry();
      await world.same(['shared.p37d']);
    });

    it('of a table of many tenants is nobody’s: replicas keep their rows, and it is counted', async () => {
      await world.tables('CREATE TABLE p37t (tenant text, id int, PRIMARY KEY (tenant, id))');
      await world.write(
        `INSERT INTO p37t VALUES ('a', 1), ('b', 1)`,
        'TRUNCATE p37t',
        `INSERT INTO p37t VALUES ('a', 2)`,
      );
      await world.settled();
      expect(await reasons()).toEqual([]);
      expect((await world.target.query('SELECT tenant, id FROM p37t ORDER BY 1, 2')).rows).toEqual([
        { tenant: 'a', id: 1 },
        { tenant: 'a', id: 2 },
        { tenant: 'b', id: 1 },
      ]);
      await world.target.query('DELETE FROM p37t WHERE id = 1');
    });
  });

  it.each(SIZES)(
    '38: a change of %i rows of which one is missing stops its tenant, and nobody else',
    async (size) => {
      await world.tables(
        `DROP TABLE IF EXISTS p38; CREATE TABLE p38 (tenant text, id int, v int DEFAULT 0, PRIMARY KEY (tenant, id))`,
      );
      await world.write(
        `INSERT INTO p38 SELECT t, i FROM unnest('{a,b}'::text[]) t, generate_series(1, ${size}) i`,
      );
      await world.same(['p38']);
      for (const sql of [
        'UPDATE p38 SET v = v + 1',
        'DELETE FROM p38 WHERE id = 1',
        'UPDATE p38 SET id = -id',
      ]) {
        await world.target.query(
          `DELETE FROM p38 WHERE tenant = 'a' AND id = (SELECT min(id) FROM p38 WHERE tenant = 'a')`,
        );
        await world.write(sql);
        await world.settled();
        expect(await reasons()).toEqual([
          expect.stringMatching(/^a apply\.missing_row: .* on public\.p38 met 1 row/),
        ]);
        const differs = await world.target.query(`SELECT 1 FROM p38 WHERE tenant = 'b' AND v <> 1`);
        expect(differs.rows).toEqual([]);
        const { rows } = await world.source.query<{ id: number; v: number }>(
          `SELECT id, v FROM p38 WHERE tenant = 'a'`,
        );
        await world.target.query(`DELETE FROM p38 WHERE tenant = 'a'`);
        for (const r of rows) await world.target.query(`INSERT INTO p38 VALUES ('a', $1, $2)`, [r.id, r.v]);
        // Mended by hand to what the source holds by now: the change is passed over.
        const open = await world.target.query(`SELECT commit_lsn FROM drover.ledger WHERE status = 'open'`);
        await world.target.query(`UPDATE drover.tenant SET skip_lsn = $1 WHERE tenant = 'a'`, [
          open.rows[0].commit_lsn,
        ]);
        await retry();
        await world.same(['p38']);
      }
    },
  );

  describe('39: unique values that change places in one transaction', () => {
    it.each([
      ['not deferrable', ''],
      ['deferrable', 'DEFERRABLE INITIALLY IMMEDIATE'],
      ['deferred', 'DEFERRABLE INITIALLY DEFERRED'],
    ])('%s', async (_, how) => {
      await world.tables(
        `DROP TABLE IF EXISTS p39; CREATE TABLE p39 (tenant text, id int, u int, r int4range, PRIMARY KEY (tenant, id), UNIQUE (tenant, u) ${how}, EXCLUDE USING gist (r WITH &&))`,
      );
      for (const [n, size] of SIZES.entries()) {
        const at = n * 1000;
        const ours = `id BETWEEN ${at} AND ${at + 999}`;
        await world.write(
          `INSERT INTO p39 SELECT 'a', ${at} + i, ${at} + i, int4range(${at} + i, ${at} + i + 1) FROM generate_series(1, ${size}) i`,
          // Two by two, by way of a value that nobody has.
          `BEGIN; UPDATE p39 SET u = -u WHERE ${ours}; UPDATE p39 SET u = -u + CASE WHEN id % 2 = 0 THEN 1 ELSE -1 END WHERE ${ours}; COMMIT`,
          // Everybody takes the next one's.
          `BEGIN; UPDATE p39 SET u = -u, r = int4range(-upper(r), -lower(r)) WHERE ${ours}; UPDATE p39 SET u = 1 - u, r = int4range(2 - upper(r), 2 - lower(r)) WHERE ${ours}; COMMIT`,
          `BEGIN; UPDATE p39 SET u = -u WHERE ${ours}; UPDATE p39 SET u = -u - 1 WHERE ${ours}; COMMIT`,
          // Given up by a row that goes, taken by one that comes, and by one that was there.
          `BEGIN; DELETE FROM p39 WHERE id = ${at + 1}; UPDATE p39 SET u = -${at} - 7000 WHERE id = ${at + 2}; INSERT INTO p39 SELECT 'a', ${at + 900}, max(u) + 1 FROM p39 WHERE ${ours}; COMMIT`,
          // Keys.
          `BEGIN; UPDATE p39 SET id = id + 500 WHERE ${ours} AND id < ${at + 400}; UPDATE p39 SET id = ${2 * at + 500} - id + 60 WHERE ${ours} AND id > ${at + 500} AND id < ${at + 561}; COMMIT`,
        );
        if (how !== '')
          await world.write(
            `BEGIN; SET CONSTRAINTS ALL DEFERRED; UPDATE p39 SET u = u + 1 WHERE ${ours}; COMMIT`,
          );
        await world.same(['p39']);
      }
    });
  });

  it('40: parents and children in one transaction and in two, over tenants', async () => {
    await world.tables(`CREATE TABLE p40p (tenant text, id int, PRIMARY KEY (tenant, id));
      CREATE TABLE p40c (tenant text, id int, parent int, PRIMARY KEY (tenant, id), FOREIGN KEY (tenant, parent) REFERENCES p40p ON DELETE CASCADE ON UPDATE CASCADE);
      CREATE TABLE p40d (tenant text, id int, parent int, PRIMARY KEY (tenant, id), FOREIGN KEY (tenant, parent) REFERENCES p40p DEFERRABLE INITIALLY DEFERRED);`);
    const both = `unnest('{a,b}'::text[]) t`;
    await world.write(
      `BEGIN; INSERT INTO p40p SELECT t, i FROM ${both}, generate_series(1, 40) i; INSERT INTO p40c SELECT t, i, i FROM ${both}, generate_series(1, 40) i; COMMIT`,
      `BEGIN; INSERT INTO p40d SELECT t, i, 100 + i FROM ${both}, generate_series(1, 30) i; INSERT INTO p40p SELECT t, 100 + i FROM ${both}, generate_series(1, 30) i; COMMIT`,
    );
    for (let i = 200; i < 230; i++)
      await world.write(
        `INSERT INTO p40p SELECT t, ${i} FROM ${both}`,
        `INSERT INTO p40c SELECT t, ${i}, ${i} FROM ${both}`,
      );
    await world.write(
      'DELETE FROM p40p WHERE id % 3 = 0 AND id < 100',
      'UPDATE p40p SET id = id + 1000 WHERE id > 200',
    );
    await world.same(['p40p', 'p40c', 'p40d']);
  });

  it.each(SIZES)(
    '41: triggers, defaults, rules and identity columns of the replica do nothing (%i rows)',
    async (size) => {
      const table = `DROP TABLE IF EXISTS p41, p41_log; CREATE TABLE p41_log (tenant text, what text);
      CREATE TABLE p41 (tenant text, id int GENERATED ALWAYS AS IDENTITY, n int GENERATED ALWAYS AS IDENTITY, d text DEFAULT 'from the default', s serial, at timestamptz DEFAULT now(), PRIMARY KEY (tenant, id));
      CREATE TABLE IF NOT EXISTS p41_plain (tenant text, id int, n int GENERATED ALWAYS AS IDENTITY); ALTER TABLE p41_plain REPLICA IDENTITY FULL;
      ALTER TABLE p41_log REPLICA IDENTITY FULL;
      CREATE OR REPLACE FUNCTION p41_f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.p41_log VALUES ('a', TG_OP); IF TG_OP <> 'DELETE' AND TG_WHEN = 'BEFORE' THEN NEW.d := 'trigger'; END IF; RETURN coalesce(NEW, OLD); END $$;`;
      const there = `CREATE TRIGGER p41_b BEFORE INSERT OR UPDATE OR DELETE ON p41 FOR EACH ROW EXECUTE FUNCTION p41_f(); CREATE TRIGGER p41_a AFTER INSERT OR UPDATE OR DELETE ON p41 FOR EACH ROW EXECUTE FUNCTION p41_f();
      CREATE RULE p41_r AS ON DELETE TO p41 DO INSTEAD NOTHING;`;
      await world.tables(table, table + there);
      await world.write(
        `INSERT INTO p41 (tenant, d) SELECT 'a', NULL FROM generate_series(1, ${size})`,
        `INSERT INTO p41_plain (tenant, id) SELECT 'a', i FROM generate_series(1, ${size}) i`,
        `INSERT INTO p41 (tenant, id, n, at) OVERRIDING SYSTEM VALUE SELECT 'a', 1000 + i, 1000 + i, NULL FROM generate_series(1, ${size}) i`,
        `UPDATE p41 SET d = 'set' WHERE id % 2 = 0`,
        // The only way in which such a column changes.
        'UPDATE p41 SET n = DEFAULT WHERE id % 3 = 0',
        `UPDATE p41 SET id = DEFAULT, d = 'new key' WHERE id % 5 = 0`,
        `UPDATE p41_plain SET n = DEFAULT WHERE id % 2 = 0`,
        'DELETE FROM p41 WHERE id % 7 = 0',
      );
      await world.same(['p41', 'p41_log', 'p41_plain']);
      expect((await world.target.query('SELECT count(*)::int AS n FROM p41_log')).rows).toEqual([{ n: 0 }]);
    },
  );

  it.each(SIZES)(
    '42: generated columns, stored and virtual, and in other places at the replica (%i rows)',
    async (size) => {
      const columns = (g: string, v: string) =>
        `CREATE TABLE p42 (tenant text, id int, a int, ${g} int GENERATED ALWAYS AS (a * 2) STORED, b text, ${v} text GENERATED ALWAYS AS (upper(b)) VIRTUAL, PRIMARY KEY (tenant, id));`;
      const full = `CREATE TABLE p42f (tenant text, a int, g int GENERATED ALWAYS AS (a * 2) STORED, b text); ALTER TABLE p42f REPLICA IDENTITY FULL;`;
      await world.tables(
        `DROP TABLE IF EXISTS p42, p42f; ${columns('g', 'v')}${full}`,
        `DROP TABLE IF EXISTS p42, p42f; CREATE TABLE p42 (v text GENERATED ALWAYS AS (upper(b)) VIRTUAL, b text, g int GENERATED ALWAYS AS (a * 2) STORED, id int, a int, tenant text, PRIMARY KEY (tenant, id));${full}`,
      );
      await world.write(
        `INSERT INTO p42 (tenant, id, a, b) SELECT 'a', i, i, 'b' || i FROM generate_series(1, ${size}) i; INSERT INTO p42f (tenant, a, b) SELECT 'a', i, 'b' FROM generate_series(1, ${size}) i`,
        'UPDATE p42 SET a = a + 1, b = NULL WHERE id % 2 = 0; UPDATE p42f SET a = -a WHERE a % 2 = 0',
        'UPDATE p42 SET id = id + 100 WHERE id % 3 = 0',
        'DELETE FROM p42 WHERE id % 2 = 1; DELETE FROM p42f WHERE a > 0',
      );
      await world.same(['p42', 'p42f']);
      const { rows } = await world.target.query('SELECT count(*)::int AS n FROM p42 WHERE g = a * 2');
      expect(rows[0].n).toBeGreaterThan(0);
    },
  );

  it.each(SIZES)(
    '43: partitions, with other bounds and columns in another order at the replica (%i rows)',
    async (size) => {
      const drop = 'DROP TABLE IF EXISTS p43, p43k, p43_loose;';
      const east = `${drop} CREATE TABLE p43 (tenant text, id int, day date, v text, PRIMARY KEY (tenant, id, day)) PARTITION BY RANGE (day);
      CREATE TABLE p43_1 PARTITION OF p43 FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
      CREATE TABLE p43_2 (v text, gone int, day date NOT NULL, id int NOT NULL, tenant text NOT NULL, PRIMARY KEY (tenant, id, day)); ALTER TABLE p43_2 DROP gone; ALTER TABLE p43 ATTACH PARTITION p43_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
      CREATE TABLE p43_3 PARTITION OF p43 FOR VALUES FROM ('2026-03-01') TO ('2027-01-01') PARTITION BY HASH (id);
      CREATE TABLE p43_3a PARTITION OF p43_3 FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE p43_3b PARTITION OF p43_3 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
      CREATE TABLE p43k (tenant text, v int) PARTITION BY HASH (v); CREATE TABLE p43k_1 PARTITION OF p43k FOR VALUES WITH (MODULUS 1, REMAINDER 0); ALTER TABLE p43k REPLICA IDENTITY FULL; ALTER TABLE p43k_1 REPLICA IDENTITY FULL`;
      const west = `${drop} CREATE TABLE p43 (v text, day date, id int, tenant text, PRIMARY KEY (tenant, id, day)) PARTITION BY HASH (id);
      CREATE TABLE p43_1 PARTITION OF p43 FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE p43_2 PARTITION OF p43 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
      CREATE TABLE p43k (v int, tenant text) PARTITION BY LIST (v); CREATE TABLE p43k_1 PARTITION OF p43k FOR VALUES IN (0, 1, 2); CREATE TABLE p43k_2 PARTITION OF p43k DEFAULT; ALTER TABLE p43k REPLICA IDENTITY FULL; ALTER TABLE p43k_1 REPLICA IDENTITY FULL; ALTER TABLE p43k_2 REPLICA IDENTITY FULL`;
      await world.tables(east, west);
      await world.write(
        `INSERT INTO p43 SELECT 'a', i, '2026-01-01'::date + i % 100, repeat('v', i % 3) FROM generate_series(1, ${size}) i; INSERT INTO p43k SELECT 'a', i % 4 FROM generate_series(1, ${size}) i`,
        `INSERT INTO p43_2 (tenant, id, day) SELECT 'a', 1000 + i, '2026-02-03' FROM generate_series(1, ${size}) i`,
        `UPDATE p43 SET day = day + 28 WHERE id % 2 = 0`,
        `UPDATE p43 SET day = '2026-12-24', id = id + 5000, v = ${BIG} WHERE id % 3 = 0`,
        `UPDATE p43 SET day = '2026-01-02' WHERE id > 5000`,
        `UPDATE p43_1 SET v = 'through the partition'`,
        `DELETE FROM p43_3 WHERE id % 2 = 1`,
        `UPDATE p43k SET v = v + 1 WHERE v < 2`,
        `DELETE FROM p43k WHERE ctid IN (SELECT ctid FROM p43k LIMIT ${size / 3})`,
      );
      await world.same(['p43', 'p43k']);
    },
  );

  it('45: a type of the installation’s own is another number at the replica', async () => {
    const make =
      `CREATE TYPE mood45 AS ENUM ('sad', 'ok'); CREATE TYPE pair45 AS (m mood45, t text); CREATE DOMAIN d45 AS pair45; CREATE DOMAIN dd45 AS d45 CHECK ((VALUE).t IS DISTINCT FROM 'never'); CREATE TYPE range45 AS RANGE (subtype = mood45);
      CREATE TABLE p45 (tenant text, id int, m mood45, p pair45, d dd45, ms mood45[], ps pair45[], ds dd45[], r range45, mr multirange45, PRIMARY KEY (tenant, id)); CREATE TABLE p45k (tenant text, m mood45, p pair45, v int, PRIMARY KEY (tenant, m, p));
      CREATE TABLE p45n (tenant text, m mood45, p pair45, ps pair45[], r range45); ALTER TABLE p45n REPLICA IDENTITY FULL`.replace(
        'range45 AS RANGE (subtype = mood45)',
        'range45 AS RANGE (subtype = mood45, multirange_type_name = multirange45)',
      );
    const others = Array.from({ length: 5 }, (_, i) => `CREATE TYPE other45_${i} AS (a int);`).join('');
    await world.tables(make, `${others}${make}`);
    for (const size of SIZES) {
      await world.write(
        `INSERT INTO p45 SELECT 'a', ${size * 100} + i, 'ok', '(sad,"x,""y")', '(,)', '{ok,NULL}', ARRAY[ROW('ok', 'z')::pair45, NULL], ARRAY['(sad,)']::dd45[], '[sad,ok]', '{[sad,sad]}' FROM generate_series(1, ${size}) i`,
        `UPDATE p45 SET p = ROW('ok', NULL), ms = '{}', r = 'empty' WHERE id % 2 = 0`,
        `INSERT INTO p45k SELECT 'a', 'ok', ROW('sad', i::text)::pair45, 0 FROM generate_series(${size * 100}, ${size * 101}) i`,
        `UPDATE p45k SET v = 1 WHERE (p).t LIKE '%1'`,
        `UPDATE p45k SET m = 'sad', p = ROW('ok', (p).t) WHERE (p).t LIKE '%2'`,
        `DELETE FROM p45k WHERE (p).t LIKE '%3'`,
        `INSERT INTO p45n SELECT 'a', 'ok', '(ok,x)', '{"(ok,z)"}', '[sad,]' FROM generate_series(1, ${size}) i`,
        `UPDATE p45n SET m = 'sad' WHERE ctid IN (SELECT ctid FROM p45n LIMIT 2)`,
        `DELETE FROM p45n WHERE ctid IN (SELECT ctid FROM p45n LIMIT 2)`,
      );
      await world.same(['p45', 'p45k', 'p45n']);
    }
  });

  it('53: one transaction of two tenants: each sees its own part, whole', async () => {
    await world.tables('CREATE TABLE p53 (tenant text, id int, v int, PRIMARY KEY (tenant, id))');
    const watcher = await world.servers.west.connect('app');
    const torn: unknown[] = [];
    let stop = false;
    const watching = (async () => {
      while (!stop) {
        const { rows } = await watcher.query(
          'SELECT tenant, count(*)::int AS n, count(DISTINCT v)::int AS states FROM p53 GROUP BY 1',
        );
        for (const r of rows) if (r.n % 20 !== 0 || r.states !== 1) torn.push(r);
      }
    })();
    for (let i = 0; i < 30; i++) {
      await world.write(
        `BEGIN; INSERT INTO p53 SELECT t, ${i * 20} + i, ${i} FROM unnest('{a,b}'::text[]) t, generate_series(1, 20) i; UPDATE p53 SET v = ${i}; UPDATE p53 SET v = ${i + 1}; COMMIT`,
      );
    }
    await world.settled();
    stop = true;
    await watching;
    await watcher.end();
    expect(torn).toEqual([]);
    // A row that goes over from one to the other is gone there and here.
    await world.write(
      `UPDATE p53 SET tenant = 'b', id = id + 10000 WHERE tenant = 'a' AND id <= 20`,
      `BEGIN; UPDATE p53 SET tenant = 'a' WHERE id > 10000; UPDATE p53 SET tenant = 'b' WHERE id > 10000 AND id % 2 = 0; COMMIT`,
    );
    await world.same(['p53']);
  });

  it('55: what apply writes is not captured again', async () => {
    await world.tables('CREATE TABLE p55 (tenant text, id int, PRIMARY KEY (tenant, id))');
    const slot = await world.target.query(
      `SELECT slot_name AS name FROM pg_replication_slots WHERE database = 'app'`,
    );
    // What other tests have mended there by hand.
    await world.target.query('SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())', [
      slot.rows[0].name,
    ]);
    await world.write(`INSERT INTO p55 SELECT 'a', i FROM generate_series(1, 50) i`);
    await world.same(['p55']);
    // A slot shows what is flushed; apply's commits do not wait for that, and this one does.
    await world.target.query(`SELECT pg_logical_emit_message(true, 'test', 'flushed')`);
    const { rows } = await world.target.query(
      `SELECT count(*)::int AS n FROM pg_logical_slot_peek_binary_changes($1, NULL, NULL, 'proto_version', '1', 'publication_names', 'drover', 'origin', 'none')
       WHERE get_byte(data, 0) IN (73, 85, 68, 84)`,
      [slot.rows[0].name],
    );
    expect(rows).toEqual([{ n: 0 }]);
    const all = await world.target.query(
      `SELECT count(*)::int AS n FROM pg_logical_slot_peek_binary_changes($1, NULL, NULL, 'proto_version', '1', 'publication_names', 'drover', 'origin', 'any')
       WHERE get_byte(data, 0) = 73`,
      [slot.rows[0].name],
    );
    expect(all.rows[0].n).toBeGreaterThanOrEqual(50);
  });
});
