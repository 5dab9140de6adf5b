/** The tables of the type matrix and what is done to them. Pure: SQL out of the types' names. */
import { EDGE_VALUES, multirangeValues, rangeValues, WITHOUT_VALUES } from './edge-values.ts';

/** How a table's rows are found again. */
export const IDENTITIES = ['default', 'index', 'full', 'full_keyed'] as const;
export type Identity = (typeof IDENTITIES)[number];

export interface MatrixType {
  readonly name: string;
  /** As it is written in a column's definition. */
  readonly type: string;
  readonly values: readonly string[];
  readonly array: boolean;
  /** Has a default btree order: it can be a key. */
  readonly ordered: boolean;
}

/**
 * Columns of these make PostgreSQL's binary form unfit, so the reader takes text: names of objects, and what is not taken back when empty. Of aclitem it
 * is the array.
 */
export function fitsBinary(type: MatrixType): boolean {
  return !/^(reg.*|tsquery|int2vector|oidvector|aclitem)$/.test(type.name);
}

/** One row of pg_type, as {@link TYPES_QUERY} gives it. */
export interface PgType {
  readonly name: string;
  readonly kind: 'b' | 'r' | 'm';
  readonly range: string | null;
  readonly array: boolean;
  readonly ordered: boolean;
}

/** Every type a column can have that comes with PostgreSQL; arrays stand with their element. */
export const TYPES_QUERY = `
SELECT t.typname::text AS name, t.typtype AS kind, t.typarray <> 0 AS array,
  (SELECT r.rngtypid::regtype::text FROM pg_range r WHERE r.rngmultitypid = t.oid) AS range,
  EXISTS (SELECT FROM pg_opclass o WHERE o.opcdefault AND o.opcmethod = 403 AND (o.opcintype = t.oid
    OR t.typtype = 'r' AND o.opcintype = 'anyrange'::regtype OR t.typtype = 'm' AND o.opcintype = 'anymultirange'::regtype
    OR t.typname = 'varchar' AND o.opcintype = 'text'::regtype)) AS ordered
FROM pg_type t WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm') AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
ORDER BY 1`;

/** @throws Error when PostgreSQL has a type that the matrix does not know */
export function builtInTypes(found: readonly PgType[]): MatrixType[] {
  const unknown: string[] = [];
  const types = found.flatMap((t): MatrixType[] => {
    if (t.name in WITHOUT_VALUES) return [];
    const values =
      t.kind === 'r'
        ? rangeValues(t.name)
        : t.kind === 'm'
          ? multirangeValues(t.range ?? '')
          : EDGE_VALUES[t.name];
    if (values === undefined) unknown.push(t.name);
    const type =
      t.name === 'char' ? '"char"' : t.name === 'bit' ? 'bit(1)' : t.name === 'bpchar' ? 'char(12)' : t.name;
    return [{ name: t.name, type, values: values ?? [], array: t.array, ordered: t.ordered }];
  });
  if (unknown.length > 0)
    throw new Error(`types the matrix does not know: ${unknown.join(', ')}; add their edge values`);
  return types;
}

const PER_TABLE = 8;

export interface MatrixTable {
  readonly name: string;
  readonly identity: Identity;
  readonly types: readonly MatrixType[];
  /** Values of the type that has most of them. */
  readonly rows: number;
}

export function matrixTables(types: readonly MatrixType[]): MatrixTable[] {
  const groups: MatrixType[][] = [];
  for (let i = 0; i < types.length; i += PER_TABLE) groups.push(types.slice(i, i + PER_TABLE));
  return IDENTITIES.flatMap((identity) =>
    groups.map((group, n) => ({
      name: `m_${identity}_${n}`,
      identity,
      types: group,
      rows: Math.max(...group.map((t) => t.values.length)) + 1,
    })),
  );
}

export function createTable({ name, identity, types }: MatrixTable): string {
  const columns = types.flatMap((t) => [
    `v_${t.name} ${t.type}`,
    ...(t.array ? [`a_${t.name} ${t.type}[]`] : []),
  ]);
  const keyed = identity === 'default' || identity === 'full_keyed';
  const after: Record<Identity, string> = {
    default: '',
    index: `CREATE UNIQUE INDEX ${name}_i ON ${name} (tenant, id); ALTER TABLE ${name} REPLICA IDENTITY USING INDEX ${name}_i;`,
    full: `ALTER TABLE ${name} REPLICA IDENTITY FULL;`,
    full_keyed: `ALTER TABLE ${name} REPLICA IDENTITY FULL;`,
  };
  return `CREATE TABLE ${name} (tenant text NOT NULL, id int NOT NULL, note int, ${columns.join(', ')}${keyed ? ', PRIMARY KEY (tenant, id)' : ''}); ${after[identity]}`;
}

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** The value of the column's n-th row; the row after the last value is NULL throughout. */
function valueAt(type: MatrixType, table: MatrixTable, n: number): string {
  const at = n % table.rows;
  return at === table.rows - 1
    ? 'NULL'
    : `${literal(type.values[at % type.values.length] ?? '')}::${type.type}`;
}

/** Empty, one element, with NULL, two dimensions, lower bounds of its own: by turns. */
function arrayOf(type: MatrixType, table: MatrixTable, n: number): string {
  const [one, two] = [valueAt(type, table, n), valueAt(type, table, n + 1)];
  const cast = `::${type.type}[]`;
  switch (n % 6) {
    case 0:
      return `ARRAY[${one}, NULL, ${two}]${cast}`;
    case 1:
      return `'{}'${cast}`;
    case 2:
      return 'NULL';
    case 3:
      return `ARRAY[[${one}, ${two}], [${two}, ${one}]]${cast}`;
    case 4:
      return `array_fill(${one}${one === 'NULL' ? `::${type.type}` : ''}, ARRAY[2], ARRAY[-3])${cast}`;
    default:
      return `ARRAY[NULL]${cast}`;
  }
}

const SETS = (table: MatrixTable, n: number): [string, string][] =>
  table.types.flatMap((t): [string, string][] => [
    [`v_${t.name}`, valueAt(t, table, n)],
    ...(t.array ? ([[`a_${t.name}`, arrayOf(t, table, n)]] as [string, string][]) : []),
  ]);

/** Rows `first` to `first + table.rows - 1`. */
export function inserts(table: MatrixTable, tenant: string, first: number): string[] {
  return Array.from({ length: table.rows }, (_, i) => {
    const sets = SETS(table, i);
    return `INSERT INTO ${table.name} (tenant, id, note, ${sets.map(([c]) => c).join(', ')}) VALUES (${literal(tenant)}, ${first + i}, 0, ${sets.map(([, v]) => v).join(', ')})`;
  });
}

/** Each row gets the values of the one after it, one gets NULLs, one loses them; then one column changes and the rest stays. */
export function updates(table: MatrixTable, tenant: string, first: number): string[] {
  const rows = Array.from({ length: table.rows }, (_, i) => i);
  return [
    ...rows.map((i) => {
      const sets = SETS(table, i + 1).map(([c, v]) => `${c} = ${v}`);
      return `UPDATE ${table.name} SET ${sets.join(', ')} WHERE tenant = ${literal(tenant)} AND id = ${first + i}`;
    }),
    `UPDATE ${table.name} SET note = note + 1 WHERE tenant = ${literal(tenant)}`,
    ...(table.identity === 'full'
      ? []
      : [`UPDATE ${table.name} SET id = id + 10000 WHERE tenant = ${literal(tenant)} AND id % 3 = 0`]),
  ];
}

export function deletes(table: MatrixTable, tenant: string): string[] {
  return [0, 1].map(
    (i) => `DELETE FROM ${table.name} WHERE tenant = ${literal(tenant)} AND id % 4 = ${i * 2}`,
  );
}

export interface KeyTable {
  readonly name: string;
  readonly create: string;
  readonly changes: (tenant: string) => string[];
}

/** A table whose rows are found by values of the type. */
export function keyTable(type: MatrixType): KeyTable {
  const name = `k_${type.name}`;
  const at = (i: number): string => `${literal(type.values[i] ?? '')}::${type.type}`;
  const all = type.values.map((_, i) => i);
  // Values that are too long for a key of a btree.
  const fitting = all.filter(
    (i) => (type.values[i] ?? '').length < 1000 && !/e-?131071|e-16383/.test(type.values[i] ?? ''),
  );
  return {
    name,
    create: `CREATE TABLE ${name} (tenant text NOT NULL, v ${type.type}, id int, PRIMARY KEY (tenant, v))`,
    changes: (tenant) => {
      const own = `tenant = ${literal(tenant)}`;
      return [
        ...fitting.map(
          (i) => `INSERT INTO ${name} VALUES (${literal(tenant)}, ${at(i)}, ${i}) ON CONFLICT DO NOTHING`,
        ),
        ...fitting.map((i) => `UPDATE ${name} SET id = id + 100 WHERE ${own} AND v = ${at(i)}`),
        // Into itself written another way (1.0 and 1.00), which is a change of the key's bytes.
        ...fitting.map((i) => `UPDATE ${name} SET v = ${at(i)} WHERE ${own} AND v = ${at(i)}`),
        ...fitting.filter((i) => i % 3 === 0).map((i) => `DELETE FROM ${name} WHERE ${own} AND v = ${at(i)}`),
        ...fitting.slice(1).map((i, n) => {
          const other = at(fitting[n] ?? 0);
          return `UPDATE ${name} SET v = ${other}, id = -id WHERE ${own} AND v = ${at(i)} AND NOT EXISTS (SELECT FROM ${name} WHERE ${own} AND v = ${other})`;
        }),
      ];
    },
  };
}

/** Values that are equal and yet not the same: of two such rows without a key, the one that was meant must change. */
export const TWINS: readonly (readonly [type: string, one: string, other: string])[] = [
  ['numeric', '1.0', '1.00'],
  ['numeric', '0', '0.000'],
  ['float8', '0', '-0'],
  ['float4', '-0', '0'],
  ['interval', '1 mon', '30 days'],
  ['interval', '1 day', '24:00:00'],
  ['jsonb', '{"a": 1.0}', '{"a": 1.00}'],
  ['numeric[]', '{1.0,2}', '{1.00,2}'],
  ['numrange', '[1.0,2)', '[1,2)'],
  ['nummultirange', '{[1.0,2)}', '{[1,2)}'],
  ['text COLLATE insensitive', 'Ab', 'aB'],
];

export const twinTable = (n: number, partitioned: boolean): string => `twin_${n}${partitioned ? 'p' : ''}`;

export function createTwins(n: number, type: string, partitioned: boolean): string {
  const name = twinTable(n, partitioned);
  const parts = partitioned
    ? `PARTITION BY LIST (tenant); CREATE TABLE ${name}_1 PARTITION OF ${name} FOR VALUES IN ('a'); CREATE TABLE ${name}_2 PARTITION OF ${name} DEFAULT; ALTER TABLE ${name}_1 REPLICA IDENTITY FULL; ALTER TABLE ${name}_2 REPLICA IDENTITY FULL`
    : '';
  return `CREATE TABLE ${name} (tenant text NOT NULL, v ${type}, n int) ${parts}; ALTER TABLE ${name} REPLICA IDENTITY FULL`;
}

/** Four of one kind, then four of the other, of which two go and one changes. */
export function twinChanges(name: string, tenant: string, [one, other]: readonly [string, string]): string[] {
  const rows = [one, other].flatMap((value) =>
    Array.from({ length: 4 }, () => `(${literal(tenant)}, ${literal(value)}, 1)`),
  );
  const first = (value: string): string =>
    `(tableoid, ctid) = (SELECT tableoid, ctid FROM ${name} WHERE tenant = ${literal(tenant)} AND v::text COLLATE "C" = ${literal(value)} AND n = 1 LIMIT 1)`;
  return [
    `INSERT INTO ${name} VALUES ${rows.join(', ')}`,
    `DELETE FROM ${name} WHERE ${first(other)}`,
    `UPDATE ${name} SET n = 2 WHERE ${first(other)}`,
    `DELETE FROM ${name} WHERE ${first(other)}`,
  ];
}
