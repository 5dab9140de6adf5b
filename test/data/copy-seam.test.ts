/** The seam between a first copy and the stream: what is written while rows are copied (pitfalls 23 to 27, 29, 34). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DataWorld } from './world.ts';

/** Order by which a copy goes through a table: the tenant's rows in key order, seven at a time. */
const CHUNK = 7;

describe('what is written while a tenant is copied', () => {
  let world: DataWorld;
  beforeAll(async () => {
    world = await DataWorld.start({ sections: { migration: { chunk_rows: CHUNK } } });
  });
  afterAll(() => world.close());

  /** Copies the tenant; at each failpoint (the n-th time it is met), SQL runs at the source. */
  const copyWith = async (tenant: string, at: Readonly<Record<string, string>>): Promise<void> => {
    const met = new Map<string, number>();
    const done = new Set<string>();
    await world.copy(await world.copied(tenant), async (step) => {
      const n = (met.get(step) ?? 0) + 1;
      met.set(step, n);
      for (const name of [step, `${step} ${n}`]) {
        const sql = at[name];
        if (sql === undefined || done.has(name)) continue;
        done.add(name);
        await world.write(sql);
      }
    });
    expect([...done].sort()).toEqual(Object.keys(at).sort());
  };

  it('23: inserted, updated and deleted before, between and after the snapshot', async () => {
    await world.tables('CREATE TABLE p23 (tenant text, id int, v text, PRIMARY KEY (tenant, id))');
    await world.write(`INSERT INTO p23 SELECT 's23', i, 'first' FROM generate_series(1, 40) i`);
    const rows = (n: number): string => `
      INSERT INTO p23 VALUES ('s23', ${100 + n}, 'new'), ('s23', ${110 + n}, 'new'), ('s23', ${120 + n}, 'new');
      UPDATE p23 SET v = 'set ${n}' WHERE tenant = 's23' AND id = ${n};
      DELETE FROM p23 WHERE tenant = 's23' AND id = ${10 + n};
      UPDATE p23 SET v = v || '+${n}' WHERE tenant = 's23' AND id = 20;
      DELETE FROM p23 WHERE tenant = 's23' AND id = 21; INSERT INTO p23 VALUES ('s23', 21, 'again ${n}');
      UPDATE p23 SET v = 'set ${n}' WHERE tenant = 's23' AND id = ${99 + n}; DELETE FROM p23 WHERE tenant = 's23' AND id = ${109 + n};`;
    await copyWith('s23', {
      stopped: rows(1),
      prepared: rows(2),
      'chunk 1': rows(3),
      'chunk 3': rows(4),
      copied: rows(5),
      following: rows(6),
    });
    await world.same(['p23']);
    expect((await world.target.query('SELECT count(*)::int AS n FROM p23')).rows[0].n).toBeGreaterThan(40);
  });

  it('24: a key that moves from above the cursor to below it, and back, with a value that is not sent', async () => {
    await world.tables(
      `CREATE TABLE p24 (tenant text, id int, n int, body text, PRIMARY KEY (tenant, id)); ALTER TABLE p24 ALTER body SET STORAGE EXTERNAL`,
    );
    await world.write(
      `INSERT INTO p24 SELECT 's24', i * 10, 0, repeat(md5(i::text), 200) FROM generate_series(1, 40) i`,
    );
    const move = (from: number, to: number): string =>
      `UPDATE p24 SET id = ${to} WHERE tenant = 's24' AND id = ${from};`;
    await copyWith('s24', {
      prepared: move(400, 399) + move(10, 11),
      'chunk 1': move(390, 5) + move(20, 395) + move(380, 381),
      'chunk 2': `${move(5, 388)}${move(395, 6)}UPDATE p24 SET n = 1 WHERE tenant = 's24' AND id = 6;`,
      copied: `${move(388, 7)}${move(6, 396)}DELETE FROM p24 WHERE tenant = 's24' AND id = 30;${move(40, 30)}`,
    });
    await world.same(['p24']);
  });

  it('unique values that others have by the time of the snapshot', async () => {
    await world.tables(
      'CREATE TABLE seam (tenant text, id int, n int, v text, PRIMARY KEY (tenant, id), UNIQUE (tenant, n))',
    );
    await world.write(`INSERT INTO seam SELECT 'unique', i, i, 'first' FROM generate_series(1, 40) i`);
    const transactions = [
      `UPDATE seam SET v = 'still 1' WHERE id = 1`,
      'ALTER TABLE seam REPLICA IDENTITY FULL', // what stands before it is written by itself, as a batch would be
      `UPDATE seam SET n = 1001 WHERE id = 1; INSERT INTO seam VALUES ('unique', 100, 1, 'has 1')`,
      `DELETE FROM seam WHERE id = 2; UPDATE seam SET n = 2 WHERE id = 3`,
    ];
    const one = transactions.map((sql) => `BEGIN; ${sql}; COMMIT`).join('; ');
    await copyWith('unique', { stopped: one, copied: `UPDATE seam SET n = -n WHERE id % 2 = 0` });
    await world.same(['seam']);
  });

  it('unique values that changed hands between two snapshots of a copy that was taken up again: it begins anew', async () => {
    await world.tables(
      'CREATE TABLE again (tenant text, id int, n int, PRIMARY KEY (tenant, id), UNIQUE (tenant, n))',
    );
    await world.write(`INSERT INTO again SELECT 'twice', i, i FROM generate_series(1, 40) i`);
    const tenant = await world.copied('twice');
    const stopped = world.copy(tenant, async (step) => {
      if (step === 'chunk') throw new Error('stopped by the test');
    });
    await expect(stopped).rejects.toThrow('stopped by the test');
    await world.write(
      `UPDATE again SET n = 5000 WHERE id = 1`,
      'ALTER TABLE again REPLICA IDENTITY FULL', // what stands before it is written by itself
      `UPDATE again SET n = 6000 WHERE id = 1; UPDATE again SET n = 5000 WHERE id = 30`,
    );
    await expect(world.copy(tenant)).rejects.toThrow('the copy begins anew');
    await world.copy(tenant);
    await world.same(['again']);
    const { rows } = await world.target.query(`SELECT status FROM drover.ledger WHERE tenant = 'twice'`);
    expect(rows).toEqual([{ status: 'resolved' }]);
  });

  it('a table that is renamed before the snapshot: what was written under its old name came before', async () => {
    const renaming = await DataWorld.start({
      sections: { migration: { chunk_rows: CHUNK }, capture: { ddl: true } },
      sql: 'CREATE TABLE older (tenant text, id int, v text, PRIMARY KEY (tenant, id))',
    });
    try {
      await renaming.write(`INSERT INTO older SELECT 'named', i, 'first' FROM generate_series(1, 20) i`);
      const tenant = await renaming.copied('named');
      let at = 0;
      const stopped = renaming.copy(tenant, async (step) => {
        if (step !== 'stopped' || at++ > 0) return;
        await renaming.write(
          `UPDATE older SET v = 'second' WHERE id = 1; INSERT INTO older VALUES ('named', 50, 'goes')`,
        );
        await renaming.write('ALTER TABLE older RENAME TO newer');
        await renaming.write(`UPDATE newer SET v = 'third' WHERE id = 1; DELETE FROM newer WHERE id = 50`);
      });
      // The copy knew the table by its old name.
      await expect(stopped).rejects.toThrow('older');
      await renaming.settled(); // the replica's has the new one
      await renaming.copy(tenant);
      await renaming.same(['newer']);
    } finally {
      await renaming.close();
    }
  });

  it('25: deleted after it was copied', async () => {
    await world.tables('CREATE TABLE p25 (tenant text, id int, PRIMARY KEY (tenant, id))');
    await world.write(`INSERT INTO p25 SELECT 's25', i FROM generate_series(1, 30) i`);
    await copyWith('s25', {
      'chunk 2': `DELETE FROM p25 WHERE tenant = 's25' AND id IN (1, 30)`,
      copied: `DELETE FROM p25 WHERE tenant = 's25' AND id % 5 = 2`,
    });
    await world.same(['p25']);
  });

  it('26: deleted while the replica was not followed, then copied anew', async () => {
    await world.tables(
      'CREATE TABLE p26 (tenant text, id int, v int, PRIMARY KEY (tenant, id)); CREATE TABLE p26n (tenant text, v int); ALTER TABLE p26n REPLICA IDENTITY FULL',
    );
    await world.write(
      `INSERT INTO p26 SELECT 's26', i, 0 FROM generate_series(1, 30) i; INSERT INTO p26n SELECT 's26', i / 2 FROM generate_series(1, 30) i`,
    );
    const tenant = await world.copied('s26');
    await world.copy(tenant);
    await world.same(['p26', 'p26n']);
    await world.target.query(
      `UPDATE drover.tenant SET feed = 'parked', reason = 'test' WHERE tenant = 's26'`,
    );
    await world.write(
      `DELETE FROM p26 WHERE id % 3 = 0; UPDATE p26 SET v = 1 WHERE id % 4 = 0; DELETE FROM p26n WHERE v % 2 = 0`,
    );
    await world.copyAnew(tenant);
    await world.same(['p26', 'p26n']);
  });

  it('34: identical rows without a key, inserted, updated and deleted before and after the snapshot', async () => {
    await world.tables(
      'CREATE TABLE p34 (tenant text, v text, n numeric); ALTER TABLE p34 REPLICA IDENTITY FULL',
    );
    await world.write(`INSERT INTO p34 SELECT 's34', 'same', 1 FROM generate_series(1, 10)`);
    const one = (what: string): string =>
      `${what} WHERE ctid = (SELECT ctid FROM p34 WHERE tenant = 's34' AND v = 'same' LIMIT 1);`;
    const more = `INSERT INTO p34 VALUES ('s34', 'same', 1), ('s34', 'same', 1), ('s34', 'same', 1);`;
    await copyWith('s34', {
      stopped: more + one('DELETE FROM p34') + one(`UPDATE p34 SET v = 'other'`),
      prepared: more,
      copied:
        more + one('DELETE FROM p34') + one(`UPDATE p34 SET v = 'other'`) + one(`UPDATE p34 SET n = 1.00`),
      following: more + one('DELETE FROM p34'),
    });
    await world.same(['p34']);
  });

  const KEYS: readonly [string, string][] = [
    ['int2', '(i - 20)::int2'],
    ['int4', '(i - 20) * 100000000'],
    ['int8', '(i - 20) * 400000000000000000'],
    ['text', `chr(30 + i * 3) || repeat(chr(233), i % 3)`],
    ['text COLLATE "C"', `repeat('a', i)`],
    ['uuid', `md5(i::text)::uuid`],
    [
      'numeric',
      `CASE i WHEN 1 THEN 'NaN' WHEN 2 THEN 'Infinity' WHEN 3 THEN '-Infinity' ELSE (i / 7.0)::numeric END`,
    ],
    ['float8', `CASE i WHEN 1 THEN 'NaN' WHEN 2 THEN 'Infinity' WHEN 3 THEN '-0' ELSE 0.1 * i END`],
    [
      'timestamptz',
      `CASE i WHEN 1 THEN 'infinity' WHEN 2 THEN '-infinity' ELSE '2026-03-29 00:30:00+00'::timestamptz + i * interval '7 min 0.000001 s' END`,
    ],
    ['date', `CASE i WHEN 1 THEN 'infinity' WHEN 2 THEN '4713-11-24 BC' ELSE '0001-01-01 BC'::date + i END`],
    ['interval', `i * interval '10 days -1 hour'`],
    [
      'timetz',
      `('12:00:00' || CASE WHEN i % 2 = 0 THEN '+' ELSE '-' END || lpad((i % 16)::text, 2, '0') || ':' || lpad(i::text, 2, '0'))::timetz`,
    ],
    ['bytea', `decode(lpad(to_hex(i * 11), 4, '0'), 'hex')`],
    ['char(5)', `lpad(i::text, 1 + i % 4)`],
    ['inet', `('10.0.' || i || '.1/' || (8 + i % 20))::inet`],
    ['bool', 'i % 2 = 0'],
    ['jsonb', `jsonb_build_object('k', i)`],
    ['int[]', 'ARRAY[i % 3, NULL, i]'],
    ['int4range', 'int4range(i % 5, i + 5)'],
    ['varbit', '(i::bit(7))::varbit'],
  ];

  it('27: killed at every chunk and resumed, keys of every kind', async () => {
    const tables = KEYS.map(
      ([type], n) => `CREATE TABLE p27_${n} (tenant text, k ${type}, v int, PRIMARY KEY (tenant, k));`,
    );
    await world.tables(`
      CREATE TYPE pair27 AS (a int, b text);
      ${tables.join('\n')}
      CREATE TABLE p27_pair (tenant text, k pair27, v int, PRIMARY KEY (tenant, k));
      CREATE TABLE p27_three (a int, tenant text, b text, c date, v int, PRIMARY KEY (b, tenant, a, c));
      CREATE TABLE p27_null (tenant text NOT NULL, id int NOT NULL, k int, v int, UNIQUE (tenant, k));
      CREATE UNIQUE INDEX p27_null_id ON p27_null (tenant, id);
      ALTER TABLE p27_null REPLICA IDENTITY USING INDEX p27_null_id`);
    for (const [n, [, expression]] of KEYS.entries())
      await world.write(
        `INSERT INTO p27_${n} SELECT 's27', ${expression}, i FROM generate_series(1, 40) i ON CONFLICT DO NOTHING`,
      );
    await world.write(
      `INSERT INTO p27_pair SELECT 's27', ROW(i % 5, CASE WHEN i % 3 = 0 THEN NULL ELSE 'x, "' || i END)::pair27, i FROM generate_series(1, 40) i ON CONFLICT DO NOTHING`,
      `INSERT INTO p27_three SELECT i % 3, 's27', chr(64 + i % 4), '2026-01-01'::date + i, i FROM generate_series(1, 40) i`,
      `INSERT INTO p27_null SELECT 's27', i, CASE WHEN i % 2 = 0 THEN NULL ELSE i END, i FROM generate_series(1, 40) i`,
    );
    const tenant = await world.copied('s27');
    // Stops at its first chunk, then at its second, and so on, and writes between the attempts.
    for (let attempt = 1; ; attempt++) {
      let chunks = 0;
      const ended = await world
        .copy(tenant, async (step) => {
          if (step !== 'chunk' || ++chunks < attempt) return;
          throw new Error('stopped by the test');
        })
        .then(() => true)
        .catch((error: unknown) => {
          if (!String(error).includes('stopped by the test')) throw error;
          return false;
        });
      if (ended) break;
      await world.write(
        `UPDATE p27_1 SET v = v + 1 WHERE v % 5 = ${attempt % 5}`,
        `UPDATE p27_1 SET k = k + 1 WHERE v % 7 = ${attempt % 7} AND k < 2000000000`,
        `DELETE FROM p27_3 WHERE v = ${attempt * 3}`,
        `UPDATE p27_null SET k = NULL WHERE id = ${attempt}`,
        `INSERT INTO p27_three VALUES (${attempt}, 's27', 'A', '2020-01-01', 0)`,
      );
    }
    await world.same([...KEYS.map((_, n) => `p27_${n}`), 'p27_pair', 'p27_three', 'p27_null']);
  });

  it('29: what is printed one way in a copy and another way in the stream', async () => {
    await world.tables(`CREATE TABLE p29 (tenant text, id int, c char(9), v varchar(9), d date, t time, z timetz, ts timestamp, tz timestamptz, i interval, f4 float4, f8 float8, n numeric,
      b bytea, m money, x xml, a text[], ia interval[], fa float8[], r tstzrange, PRIMARY KEY (tenant, id))`);
    const values = [
      `'ab ', 'ab ', '2003-04-05', '24:00', '24:00:00-15:59:59', '2003-04-05 06:07:08.1', '2003-04-05 06:07:08.1+05:30', '1 year -2 days 03:00', 0.1, 0.1, 'NaN', '\\x5c00', 12.34, '<a/>',
        '{NULL,"NULL",null}', '{1 day,-1 mon}', '{0.1,1e23,-0}', '["2003-04-05 06:07:08.1+00",infinity]'`,
      `'', '', 'infinity', '00:00', '00:00+15:59', '-infinity', 'infinity', '-1 mon +1 day -00:00:01', 'NaN', '-Infinity', '1.10', '', -0.01, 'a<b/>c', '{}', '{}', '{NaN,Infinity}', 'empty'`,
      `NULL, NULL, '4713-11-24 BC', '23:59:59.999999', '12:00:00.1-03:30', '294276-12-31 23:59:59.999999', '4713-11-24 00:00 BC+00', '178000000 years', 3.4e38, 5e-324, '1e-16383', NULL, NULL, NULL, NULL, NULL, NULL, NULL`,
    ];
    const insert = (first: number): string =>
      values.map((v, n) => `INSERT INTO p29 VALUES ('s29', ${first + n}, ${v});`).join('\n');
    await world.write(insert(0));
    await copyWith('s29', { prepared: insert(10), copied: insert(20) });
    await world.write(
      insert(30),
      'UPDATE p29 SET v = v WHERE id < 10',
      'UPDATE p29 SET id = id + 50 WHERE id < 3',
    );
    await world.same(['p29']);
    const printed = await world.target.query(`SELECT c, b::text, i::text, f8::text FROM p29 WHERE id = 30`);
    expect(printed.rows).toEqual([
      { c: 'ab       ', b: '\\x5c00', i: '1 year -2 days +03:00:00', f8: '0.1' },
    ]);
  });
});
