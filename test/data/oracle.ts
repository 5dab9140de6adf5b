/**
 * Two tables are the same when each row's text and each value's binary form are: text shows what people see, the send form what text hides
 * (a sign of zero, a display scale). It knows nothing of how Drover copies or verifies. Values whose send form holds numbers of the
 * server's own (types made by users, names of objects, and arrays of them) are compared by text alone.
 */
import type pg from 'pg';

const SETTINGS = `BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
  SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'iso_8601';
  SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1; SET LOCAL row_security = off;`;
const FIRST_USER_OID = 16_384;
const SHOWN = 160;

interface Column {
  readonly name: string;
  readonly send: string | null;
  readonly as_type: string | null;
}
type Row = readonly (string | null)[];

/** What differs, in words; empty: nothing does. Rows are matched by `key` columns, or as multisets without. */
export async function differences(
  a: pg.Client,
  b: pg.Client,
  tables: readonly string[],
  where = 'true',
): Promise<string[]> {
  // One after the other: when one fails, neither is left in its transaction.
  const ours = await readAll(a, tables, where);
  const theirs = await readAll(b, tables, where);
  return tables.flatMap((table) => {
    const one = ours.get(table);
    const other = theirs.get(table);
    return one === undefined || other === undefined ? [`${table}: missing`] : compare(table, one, other);
  });
}

interface Content {
  readonly names: readonly string[];
  readonly rows: readonly Row[];
}

function compare(table: string, a: Content, b: Content): string[] {
  if (a.names.join() !== b.names.join())
    return [`${table}: columns ${a.names.join()} against ${b.names.join()}`];
  const [left, right] = [sorted(a.rows), sorted(b.rows)];
  const [onlyA, onlyB] = [subtract(left, right), subtract(right, left)];
  if (onlyA.length === 0 && onlyB.length === 0) return [];
  const out = [
    `${table}: ${a.rows.length} rows against ${b.rows.length}; only source ${onlyA.length}, only replica ${onlyB.length}`,
  ];
  // Rows of the same tenant and id that differ are shown by column.
  for (const text of onlyA.slice(0, 3)) {
    const row = JSON.parse(text) as Row;
    const twin = onlyB
      .map((t) => JSON.parse(t) as Row)
      .find((other) => other[0] === row[0] && other[1] === row[1]);
    const columns = a.names.flatMap((name, i) =>
      twin === undefined || twin[i] !== row[i]
        ? [`    ${name}: ${cut(row[i])}${twin === undefined ? '' : ` against ${cut(twin[i])}`}`]
        : [],
    );
    out.push(`  row ${row[0]} ${row[1]}${twin === undefined ? ' has no twin' : ''}`, ...columns.slice(0, 8));
  }
  for (const text of onlyB.slice(0, 2)) out.push(`  replica only: ${cut(text)}`);
  return out;
}

const cut = (text: string | null | undefined): string => String(text).slice(0, SHOWN);
const sorted = (rows: readonly Row[]): string[] => rows.map((row) => JSON.stringify(row)).sort();

function subtract(from: readonly string[], what: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const row of what) counts.set(row, (counts.get(row) ?? 0) + 1);
  return from.filter((row) => {
    const n = counts.get(row) ?? 0;
    if (n > 0) counts.set(row, n - 1);
    return n === 0;
  });
}

async function readAll(
  client: pg.Client,
  tables: readonly string[],
  where: string,
): Promise<Map<string, Content>> {
  await client.query(SETTINGS);
  try {
    const all = new Map<string, Content>();
    for (const table of tables) all.set(table, await read(client, table, where));
    return all;
  } finally {
    await client.query('ROLLBACK');
  }
}

async function read(client: pg.Client, table: string, where: string): Promise<Content> {
  const { rows: columns } = await client.query<Column>(
    // Of an array, the element decides; of a domain, its base. A composite's form holds the types of its columns.
    `SELECT a.attname AS name, CASE WHEN b.oid < ${FIRST_USER_OID} AND coalesce(e.oid, 0) < ${FIRST_USER_OID} AND b.typsend <> 0 AND coalesce(e.typsend, 1) <> 0
           AND coalesce(e.typname, b.typname) NOT LIKE 'reg%'
         THEN b.typsend::regproc::text END AS send,
       -- Some types are sent by the function of another one.
       CASE WHEN f.typtype <> 'p' AND f.oid <> b.oid THEN f.oid::regtype::text END AS as_type
     FROM pg_attribute a
     CROSS JOIN LATERAL (WITH RECURSIVE up(oid, n) AS (SELECT a.atttypid, 0 UNION ALL SELECT d.typbasetype, n + 1 FROM up JOIN pg_type d ON d.oid = up.oid AND d.typtype = 'd')
       SELECT oid FROM up ORDER BY n DESC LIMIT 1) u
     JOIN pg_type b ON b.oid = u.oid LEFT JOIN pg_proc s ON s.oid = b.typsend LEFT JOIN pg_type f ON f.oid = s.proargtypes[0] LEFT JOIN pg_type e ON e.oid = b.typelem AND b.typcategory = 'A'
     WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped
     ORDER BY a.attname NOT IN ('tenant'), a.attname NOT IN ('id'), a.attname COLLATE "C"`,
    [table],
  );
  const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;
  const parts = columns.flatMap(({ name, send, as_type }) => [
    `t.${quoted(name)}::text`,
    ...(send === null ? [] : [`md5(${send}(t.${quoted(name)}${as_type === null ? '' : `::${as_type}`}))`]),
  ]);
  const names = columns.flatMap(({ name, send }) => [name, ...(send === null ? [] : [`${name} (binary)`])]);
  const { rows } = await client.query<{ r: Row }>(
    `SELECT ARRAY[${parts.join(', ')}]::text[] AS r FROM ${table} t WHERE ${where}`,
  );
  return { names, rows: rows.map(({ r }) => r) };
}
