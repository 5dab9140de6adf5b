/** Statements that fold a tenant's rows into comparable numbers. Pure. */
import { quoteIdent, quoteLiteral, quoteTable } from '@drover/pg';
import type { TenantTable } from '../scope.ts';

export const BUCKETS = 256;
const KEY_CHARS_MAX = 500;

/** A row as one 64-bit number: the same on both sides whatever the order of columns there. */
function rowHash(table: TenantTable): string {
  return `pg_catalog.hashtextextended(ROW(${table.columns.map(quoteIdent).join(', ')})::text, 0)`;
}

/** A key as JSON text. Without a key the row is its own: all values as text, with no bound on their number or their kind. */
function keyText(table: TenantTable): string {
  if (table.key !== null)
    return `pg_catalog.jsonb_build_object(${table.key.map((k) => `${quoteLiteral(k.name)}, ${quoteIdent(k.name)}`).join(', ')})::text`;
  const names = table.columns.map(quoteLiteral).join(', ');
  const values = table.columns.map((c) => `${quoteIdent(c)}::text`).join(', ');
  return `pg_catalog.jsonb_object(ARRAY[${names}]::text[], ARRAY[${values}]::text[])::text`;
}

/** What is shown of a key: values of megabytes must neither be held by the thousand nor sent. */
function shownKey(table: TenantTable): string {
  const key = keyText(table);
  return `CASE WHEN pg_catalog.length(${key}) > ${KEY_CHARS_MAX} THEN pg_catalog.left(${key}, ${KEY_CHARS_MAX}) || '…' ELSE ${key} END`;
}

/** bucket, rows, sum of hashes. Rows of one key fall into one bucket on both sides. */
export function bucketQuery(table: TenantTable): string {
  const bucket = `(pg_catalog.hashtextextended(${keyText(table)}, 0) & ${BUCKETS - 1})::int`;
  return `SELECT ${bucket} AS bucket, count(*)::float8 AS rows, sum(${rowHash(table)}::numeric)::text AS sum
    FROM ${quoteTable(table.schema, table.name)} WHERE ${table.where} GROUP BY 1 ORDER BY 1`;
}

/** Key and hash of each row of the buckets given as $1. */
export function rowsQuery(table: TenantTable): string {
  return `SELECT ${shownKey(table)} AS key, ${rowHash(table)}::text AS hash
    FROM ${quoteTable(table.schema, table.name)} WHERE ${table.where}
      AND (pg_catalog.hashtextextended(${keyText(table)}, 0) & ${BUCKETS - 1})::int = ANY ($1::int[])`;
}

export interface Bucket {
  readonly bucket: number;
  readonly rows: number;
  readonly sum: string;
}

/** Numbers of the buckets that differ. */
export function differingBuckets(a: readonly Bucket[], b: readonly Bucket[]): number[] {
  const other = new Map(b.map((x) => [x.bucket, x]));
  const out = new Set<number>();
  for (const x of a) {
    const y = other.get(x.bucket);
    other.delete(x.bucket);
    if (y === undefined || y.rows !== x.rows || y.sum !== x.sum) out.add(x.bucket);
  }
  for (const bucket of other.keys()) out.add(bucket);
  return [...out].sort((x, y) => x - y);
}

/** The buckets in shares of at most `rowsMax` rows by the counts given, each of one bucket at least. */
export function shares(buckets: readonly number[], counts: readonly Bucket[], rowsMax: number): number[][] {
  const out: number[][] = [];
  let rows = 0;
  for (const bucket of buckets) {
    const own = counts.reduce((sum, c) => (c.bucket === bucket ? sum + c.rows : sum), 0);
    const last = out.at(-1);
    if (last === undefined || rows + own > rowsMax) {
      out.push([bucket]);
      rows = own;
    } else {
      last.push(bucket);
      rows += own;
    }
  }
  return out;
}

export interface KeyedRow {
  readonly key: string;
  readonly hash: string;
}

/** Keys whose rows differ, are missing or are there too often, as multisets; at most `limit`. */
export function differingKeys(a: readonly KeyedRow[], b: readonly KeyedRow[], limit: number): string[] {
  const balance = new Map<string, number>();
  const count = (row: KeyedRow, by: number) => {
    const id = `${row.hash}\n${row.key}`;
    const next = (balance.get(id) ?? 0) + by;
    if (next === 0) balance.delete(id);
    else balance.set(id, next);
  };
  for (const row of a) count(row, 1);
  for (const row of b) count(row, -1);
  const keys = new Set([...balance.keys()].map((id) => id.slice(id.indexOf('\n') + 1)));
  return [...keys].sort().slice(0, limit);
}
