/** Types of extensions and of the installation's own, through a first copy and through the stream, in binary form and as text. */
import { afterEach, describe, expect, it } from 'vitest';
import { arrayValues, EXTENSIONS, MADE_TYPES, TYPES, type TypeCase, WITHOUT_VALUES } from './values.ts';
import { DataWorld } from './world.ts';

interface Column {
  readonly name: string;
  readonly type: string;
  readonly values: readonly string[];
}

const columnsOf = (types: readonly TypeCase[], arrays: (type: TypeCase) => boolean): Column[] =>
  types.flatMap((type) => [
    { name: `v_${type.type}`, type: type.type, values: ['NULL', ...type.values] },
    ...(arrays(type)
      ? [{ name: `a_${type.type}`, type: `${type.type}[]`, values: ['NULL', ...arrayValues(type)] }]
      : []),
  ]);

const IDENTITIES = {
  key: 'PRIMARY KEY (tenant, id)',
  full: 'PRIMARY KEY (tenant, id)',
  none: '',
} as const;
type Identity = keyof typeof IDENTITIES;

describe('types that do not come with PostgreSQL itself', () => {
  let world: DataWorld | undefined;
  afterEach(() => world?.close());

  const start = async (columns: readonly Column[]): Promise<DataWorld> => {
    world = await DataWorld.start();
    const extensions = EXTENSIONS.map((name) => `CREATE EXTENSION ${name};`).join(' ');
    const tables = (Object.keys(IDENTITIES) as Identity[]).map(
      (
        identity,
      ) => `CREATE TABLE m_${identity} (tenant text NOT NULL, id int NOT NULL, note int DEFAULT 0${columns.map((c) => `, ${c.name} ${c.type}`).join('')}${IDENTITIES[identity] === '' ? '' : `, ${IDENTITIES[identity]}`});
        ${identity === 'key' ? '' : `ALTER TABLE m_${identity} REPLICA IDENTITY FULL;`}`,
    );
    const others = Array.from({ length: 7 }, (_, i) => `CREATE TYPE other_${i} AS (a int);`).join(' ');
    await world.tables(
      `${extensions}${MADE_TYPES}${tables.join('')}`,
      `${others}${extensions}${MADE_TYPES}${tables.join('')}`,
    );
    return world;
  };

  const row = (columns: readonly Column[], n: number): string[] =>
    columns.map(({ values, type }) => `, (${values[n % values.length]})::${type}`);
  const inserts = (columns: readonly Column[], tenant: string, from: number, count: number): string[] =>
    (Object.keys(IDENTITIES) as Identity[]).map(
      (identity) =>
        `INSERT INTO m_${identity} VALUES ${Array.from({ length: count }, (_, i) => `('${tenant}', ${from + i}, 0${row(columns, from + i).join('')})`).join(', ')}`,
    );

  const everything = async (columns: readonly Column[]): Promise<void> => {
    const w = await start(columns);
    const tables = Object.keys(IDENTITIES).map((identity) => `m_${identity}`);
    await w.write(...inserts(columns, 'copied', 0, 8));
    await w.copy(await w.copied('copied'));
    await w.tenant('live');
    await w.same(tables);
    // In sets, and row by row.
    await w.write(
      ...inserts(columns, 'live', 0, 20),
      ...inserts(columns, 'live', 100, 1),
      ...inserts(columns, 'copied', 100, 2),
    );
    await w.same(tables);
    for (const table of tables) {
      for (const [n, where] of ['id < 20', 'id = 100'].entries()) {
        await w.write(
          `UPDATE ${table} SET ${columns.map((c) => `${c.name} = (${c.values[(n + 2) % c.values.length]})::${c.type}`).join(', ')} WHERE ${where}`,
        );
        await w.write(`UPDATE ${table} SET note = note + 1, id = id + 1000 WHERE ${where}`);
      }
    }
    await w.same(tables);
    await w.write(
      ...tables.map((table) => `DELETE FROM ${table} WHERE id % 2 = 0`),
      `DELETE FROM m_none WHERE ctid = (SELECT min(ctid) FROM m_none)`,
    );
    await w.same(tables);
    expect((await w.target.query('SELECT count(*)::int AS n FROM m_none')).rows[0].n).toBeGreaterThan(5);
  };

  it('are all known here', async () => {
    const w = await start([]);
    const { rows } = await w.source.query<{ name: string }>(
      `SELECT t.typname AS name FROM pg_type t JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.refclassid = 'pg_extension'::regclass
       WHERE t.typtype <> 'p' AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)`,
    );
    const known = new Set([...TYPES.map(({ type }) => type), ...WITHOUT_VALUES]);
    expect(rows.map(({ name }) => name).filter((name) => !known.has(name))).toEqual([]);
  });

  it('arrive in binary form', () => everything(columnsOf(TYPES, (type) => type.text !== true)));

  it('arrive as text where one of them cannot be sent otherwise', () =>
    everything(columnsOf(TYPES, () => true)));

  it('that come while the source is read, and go again', async () => {
    const w = await start([]);
    await w.tenant('live');
    await w.write(...inserts([], 'live', 0, 3));
    await w.tables('CREATE TABLE late (tenant text, id int, s seg[], q tsquery, PRIMARY KEY (tenant, id))');
    await w.write(
      `INSERT INTO late SELECT 'live', i, ARRAY['1 .. 2']::seg[], 'a & b' FROM generate_series(1, 30) i`,
      `UPDATE late SET s = '{}' WHERE id = 1`,
      ...inserts([], 'live', 10, 3),
    );
    await w.same(['late', 'm_key']);
    await w.write('DELETE FROM late WHERE id < 10');
    await w.tables('DROP TABLE late');
    await w.write(...inserts([], 'live', 20, 3));
    await w.end('cdc east');
    await w.run('cdc east');
    await w.write(...inserts([], 'live', 30, 3));
    await w.same(['m_key', 'm_full', 'm_none']);
  });
});
