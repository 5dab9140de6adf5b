/**
 * The oracle of replication tests: are the rows of two databases the same? It knows nothing of how Drover copies
 * or verifies: it reads everything as text and compares multisets.
 */
import pg from 'pg';

export interface TableDifference {
  readonly table: string;
  readonly rowsA: number;
  readonly rowsB: number;
  /** Rows as text that only one side has (or has more often), at most {@link SAMPLE} of them. */
  readonly onlyInA: readonly string[];
  readonly onlyInB: readonly string[];
}

/** SQL for a WHERE clause, the same for all tables or by table. */
export type Where = string | ((table: string) => string | undefined);

export const SAMPLE = 20;

const SETTINGS = `BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
  SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'iso_8601';
  SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1; SET LOCAL row_security = off;`;

/**
 * The tables that differ; empty when all are equal. Tables are named `table` or `schema.table`. Column order does
 * not matter, columns that only one side has do. Each side is read in one snapshot.
 */
export async function compareTables(
  a: pg.Client,
  b: pg.Client,
  tables: readonly string[],
  where?: Where,
): Promise<TableDifference[]> {
  const differences: TableDifference[] = [];
  const [rowsA, rowsB] = await Promise.all([readAll(a, tables, where), readAll(b, tables, where)]);
  for (const [index, table] of tables.entries()) {
    const difference = compareRows(table, rowsA[index] ?? [], rowsB[index] ?? []);
    if (difference !== null) differences.push(difference);
  }
  return differences;
}

/** @throws an error that shows the differences, for use as an assertion */
export async function expectSameTables(
  a: pg.Client,
  b: pg.Client,
  tables: readonly string[],
  where?: Where,
): Promise<void> {
  const differences = await compareTables(a, b, tables, where);
  if (differences.length > 0) throw new Error(differences.map(render).join('\n'));
}

/** Pure: multisets of rows. */
export function compareRows(
  table: string,
  a: readonly string[],
  b: readonly string[],
): TableDifference | null {
  const counts = new Map<string, number>();
  for (const row of a) counts.set(row, (counts.get(row) ?? 0) + 1);
  for (const row of b) counts.set(row, (counts.get(row) ?? 0) - 1);
  const onlyInA: string[] = [];
  const onlyInB: string[] = [];
  for (const [row, count] of counts) {
    if (count > 0) onlyInA.push(row);
    if (count < 0) onlyInB.push(row);
  }
  if (onlyInA.length === 0 && onlyInB.length === 0) return null;
  return {
    table,
    rowsA: a.length,
    rowsB: b.length,
    onlyInA: onlyInA.sort().slice(0, SAMPLE),
    onlyInB: onlyInB.sort().slice(0, SAMPLE),
  };
}

function render(difference: TableDifference): string {
  return [
    `${difference.table}: ${difference.rowsA} rows against ${difference.rowsB}`,
    ...difference.onlyInA.map((row) => `  - ${row}`),
    ...difference.onlyInB.map((row) => `  + ${row}`),
  ].join('\n');
}

async function readAll(
  client: pg.Client,
  tables: readonly string[],
  where: Where | undefined,
): Promise<string[][]> {
  await client.query(SETTINGS);
  try {
    const all: string[][] = [];
    for (const table of tables) {
      all.push(await readTable(client, table, typeof where === 'function' ? where(table) : where));
    }
    return all;
  } finally {
    await client.query('ROLLBACK');
  }
}

async function readTable(client: pg.Client, table: string, where: string | undefined): Promise<string[]> {
  const name = table.split('.').map(pg.escapeIdentifier).join('.');
  const columns = await client.query<{ name: string }>(
    `SELECT attname AS name FROM pg_catalog.pg_attribute
     WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attname COLLATE "C"`,
    [name],
  );
  const list = columns.rows.map((column) => `t.${pg.escapeIdentifier(column.name)}::text`);
  const result = await client.query<{ r: (string | null)[] }>(
    `SELECT ARRAY[${list.join(', ')}]::text[] AS r FROM ${name} AS t ${where === undefined ? '' : `WHERE ${where}`}`,
  );
  return result.rows.map((row) => {
    const named = columns.rows.map((column, index) => [column.name, row.r[index] ?? null]);
    return JSON.stringify(Object.fromEntries(named));
  });
}
