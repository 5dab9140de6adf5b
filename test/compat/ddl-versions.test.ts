import type { PgMajor } from '@drover/local';
import { describe, it } from 'vitest';
import { DdlWorld } from './ddl-world.ts';

const EACH = `unnest('{a,b,c}'::text[]) t`;

describe('schema changes between versions of PostgreSQL', () => {
  it.each<[PgMajor, PgMajor]>([
    [16, 18],
    [17, 16],
    [18, 17],
  ])('%i to %i', async (source, target) => {
    const world = await DdlWorld.start({ source, target });
    try {
      await world.tenant('a', 'b', 'c');
      await world.flow(
        `CREATE TYPE mood AS ENUM ('sad', 'ok')`,
        `CREATE TABLE t (tenant text, id int, m mood DEFAULT 'ok', n int NOT NULL DEFAULT 3 CHECK (n > 0), g int GENERATED ALWAYS AS (id + 1) STORED, PRIMARY KEY (tenant, id))`,
        `INSERT INTO t (tenant, id) SELECT t, i FROM ${EACH}, generate_series(1, 40) i`,
        `ALTER TABLE t ADD c int DEFAULT 7, ADD at timestamptz NOT NULL DEFAULT now()`,
        `ALTER TYPE mood ADD VALUE 'fine' AFTER 'sad'`,
        `UPDATE t SET m = 'fine', c = id`,
        `BEGIN; UPDATE t SET c = 1 WHERE id = 1; ALTER TABLE t RENAME c TO d; ALTER TABLE t ALTER d TYPE bigint; UPDATE t SET d = 2 WHERE id = 2; COMMIT`,
        `ALTER TABLE t DROP d, ADD d text`,
        `CREATE INDEX t_d ON t (d) WHERE n > 1`,
        `ALTER TABLE t ALTER n DROP NOT NULL, ADD UNIQUE (tenant, id, d)`,
        `CREATE TABLE p (tenant text, id bigint GENERATED ALWAYS AS IDENTITY, v text, PRIMARY KEY (tenant, id)) PARTITION BY HASH (id)`,
        `CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1)`,
        `INSERT INTO p (tenant) SELECT t FROM ${EACH}, generate_series(1, 20)`,
        `ALTER TABLE p ADD w int DEFAULT 9, ALTER v SET DEFAULT 'v'`,
        `UPDATE p SET w = 10`,
        `DROP TABLE t`,
      );
      // What is virtual there is stored where there is no such thing.
      if (source === 18)
        await world.write(
          'ALTER TABLE p ADD virt text GENERATED ALWAYS AS (upper(tenant)) VIRTUAL',
          `UPDATE p SET w = 11 WHERE id = 3`,
        );
      await world.settled();
      if (source === 18) {
        const { rows } = await world.target.query('SELECT DISTINCT virt FROM p ORDER BY 1');
        if (rows.map((r) => r.virt).join() !== 'A,B,C') throw new Error(JSON.stringify(rows));
      }
    } finally {
      await world.close();
    }
  });

  it('schema by schema: of a tenant that is replicated here, and of no other', async () => {
    const world = await DdlWorld.start({
      tagging: { mode: 'schema', schema_prefix: 't_' },
      sql: 'CREATE SCHEMA t_a; CREATE SCHEMA t_b',
    });
    try {
      await world.tenant('a');
      await world.write(
        'CREATE TABLE t_a.x (id int PRIMARY KEY, v text)',
        'CREATE TABLE t_b.x (id int PRIMARY KEY)',
        `INSERT INTO t_a.x VALUES (1, 'one')`,
      );
      await world.write(
        'ALTER TABLE t_a.x ADD c int DEFAULT 2',
        `UPDATE t_a.x SET v = 'two'`,
        'TRUNCATE t_a.x',
        'INSERT INTO t_a.x VALUES (2)',
      );
      await world.settled();
      const tables = await world.target.query(
        `SELECT relnamespace::regnamespace::text AS s FROM pg_class WHERE relname = 'x'`,
      );
      if (JSON.stringify(tables.rows) !== '[{"s":"t_a"}]') throw new Error(JSON.stringify(tables.rows));
      const rows = await world.target.query('SELECT * FROM t_a.x');
      if (JSON.stringify(rows.rows) !== '[{"id":2,"v":null,"c":2}]')
        throw new Error(JSON.stringify(rows.rows));
    } finally {
      await world.close();
    }
  });
});
