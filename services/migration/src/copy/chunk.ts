/** The statements of a chunk: rows of one tenant in key order behind a cursor. Pure. */
import { quoteIdent, quoteLiteral, quoteTable } from '@drover/pg';
import type { TenantTable } from '../scope.ts';

/** Values of the key columns of the last row copied, as text. */
export type Cursor = readonly string[];

/** The key of the last row of the next chunk; no row when nothing is left. One column per key column, as text. */
export function boundQuery(table: TenantTable, after: Cursor | null, rows: number): string {
  const key = keyOf(table);
  const names = key.map((k) => quoteIdent(k.name)).join(', ');
  return `SELECT ${key.map((k, i) => `${quoteIdent(k.name)}::text AS k${i}`).join(', ')} FROM (
    SELECT ${names} FROM ${quoteTable(table.schema, table.name)} WHERE ${rangeOf(table, after, null)} ORDER BY ${names} LIMIT ${rows}
  ) chunk ORDER BY ${key.map((k) => `${quoteIdent(k.name)} DESC`).join(', ')} LIMIT 1`;
}

/** Reads the chunk between two cursors, or the whole of a table without a key. */
export function copyOut(table: TenantTable, after: Cursor | null, upTo: Cursor | null): string {
  const columns = table.columns.map(quoteIdent).join(', ');
  return `COPY (SELECT ${columns} FROM ${quoteTable(table.schema, table.name)} WHERE ${rangeOf(table, after, upTo)}) TO STDOUT`;
}

/** How many rows are left behind the cursor, as `n`. */
export function countLeft(table: TenantTable, after: Cursor | null): string {
  return `SELECT pg_catalog.count(*)::float8 AS n FROM ${quoteTable(table.schema, table.name)} WHERE ${rangeOf(table, after, null)}`;
}

export function copyIn(table: TenantTable): string {
  return `COPY ${quoteTable(table.schema, table.name)} (${(table.ruled?.columns ?? table.columns).map(quoteIdent).join(', ')}) FROM STDIN`;
}

export function deleteAll(table: TenantTable): string {
  return `DELETE FROM ${quoteTable(table.schema, table.name)} WHERE ${table.where}`;
}

function rangeOf(table: TenantTable, after: Cursor | null, upTo: Cursor | null): string {
  const parts = [table.where];
  if (after !== null) parts.push(`${rowOf(table)} > ${literals(table, after)}`);
  if (upTo !== null) parts.push(`${rowOf(table)} <= ${literals(table, upTo)}`);
  return parts.join(' AND ');
}

function rowOf(table: TenantTable): string {
  return `(${keyOf(table)
    .map((k) => quoteIdent(k.name))
    .join(', ')})`;
}

function literals(table: TenantTable, cursor: Cursor): string {
  return `(${keyOf(table)
    .map((k, i) => `${quoteLiteral(cursor[i] ?? '')}::${k.type}`)
    .join(', ')})`;
}

function keyOf(table: TenantTable): NonNullable<TenantTable['key']> {
  if (table.key === null) throw new TypeError(`${table.schema}.${table.name} has no key`);
  return table.key;
}
