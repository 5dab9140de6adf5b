/**
 * Rows as the source had them when they were written, for a table that has been changed since: each source column finds the
 * replica's by its number, whatever both are called; values of a changed type are converted as the change converted those that were
 * there; columns that came later get what they got in rows that were there. Pure.
 */
import type { Relation } from '@drover/block';
import { DroverError, type Lsn } from '@drover/core';
import { quoteIdent, quoteLiteral } from '@drover/pg';
import type { TargetColumn, TargetTable } from '../target/target-table.ts';
import type { ColumnShape, TableShape } from './message.ts';

/** Where in the source's order a row was written. */
export interface RowPlace {
  readonly generation: number;
  readonly lsn: Lsn;
  /** The schema change of its own transaction that was told last before it; 0: none. */
  readonly told: Lsn;
}

export interface Version {
  readonly generation: number;
  readonly lsn: Lsn;
  readonly at: Lsn;
  /** Before the change. */
  readonly shape: TableShape;
  readonly missing: Readonly<Record<string, string | null>>;
}

/** What a replica knows of one table of a source. */
export interface Known {
  readonly targetOid: number | null;
  readonly pairs: Readonly<Record<string, number>>;
  /** Now; null: dropped. */
  readonly shape: TableShape | null;
  /** Oldest first. */
  readonly versions: readonly Version[];
}

/** Index of the first change behind the row; the number of changes: it is as the table is now. */
export function versionOf(known: Known, place: RowPlace): number {
  const index = known.versions.findIndex(
    (v) =>
      v.generation === place.generation && (v.lsn > place.lsn || (v.lsn === place.lsn && v.at > place.told)),
  );
  return index < 0 ? known.versions.length : index;
}

export interface Resolved {
  /** By index in the relation's columns: the replica's, and the types its values go through on their way; null: it is gone. */
  readonly columns: readonly ({ readonly to: TargetColumn; readonly through: readonly string[] } | null)[];
  /** Columns of the replica that the row was written without, and what they have in rows from then. */
  readonly constants: readonly { readonly name: string; readonly sql: string }[];
}

/** @throws DroverError `apply.schema` when the replica lacks a column that the source has */
export function resolve(relation: Relation, target: TargetTable, known: Known, index: number): Resolved {
  const shape = known.versions[index]?.shape ?? known.shape;
  const byNumber = new Map(target.columns.map((column) => [column.attnum, column]));
  const paired = new Set(Object.values(known.pairs));
  const latest = known.shape ?? shape;
  const columns = relation.columns.map((column) => {
    const was = shape?.columns.find((c) => c.name === column.name);
    const n = was === undefined ? undefined : known.pairs[String(was.n)];
    const byName = target.columns.find((c) => c.name === column.name && !paired.has(c.attnum));
    const gone = was !== undefined && latest !== null && !latest.columns.some((c) => c.n === was.n);
    // Whoever has lost its column at the replica alone, and been given it again, finds it by its name.
    const to =
      (n === undefined ? undefined : byNumber.get(n)) ?? (n !== undefined && gone ? undefined : byName);
    if (to === undefined) {
      if (gone) return null;
      throw new DroverError(
        'apply.schema',
        `the replica's table ${relation.schema}.${relation.name} has no column "${column.name}"`,
        {
          hint: 'add it as on the source, then retry',
          facts: { table: `${relation.schema}.${relation.name}`, column: column.name },
        },
      );
    }
    const types = was === undefined ? [] : typesOf(known, was.n, index);
    // One type all along, and the replica's: nothing is to be converted.
    return { to, through: types.length > 1 || to.typeOid !== column.typeOid ? types : [] };
  });
  return { columns, constants: constantsOf(known, index, shape, byNumber) };
}

/** The types that a column has had from a version on, until now: each change of it has converted what was there. */
function typesOf(known: Known, n: number, index: number): string[] {
  const out: string[] = [];
  for (let i = index; i <= known.versions.length; i++) {
    const shape = known.versions[i]?.shape ?? known.shape;
    const type = shape?.columns.find((c) => c.n === n)?.type;
    if (type !== undefined && type !== out.at(-1)) out.push(type);
  }
  return out;
}

function constantsOf(
  known: Known,
  index: number,
  shape: TableShape | null,
  byNumber: ReadonlyMap<number, TargetColumn>,
): Resolved['constants'] {
  const out: { name: string; sql: string }[] = [];
  const seen = new Set((shape?.columns ?? []).map((c) => c.n));
  for (let i = index; i < known.versions.length; i++) {
    const after = known.versions[i + 1]?.shape ?? known.shape;
    for (const column of after?.columns ?? []) {
      if (seen.has(column.n)) continue;
      seen.add(column.n);
      const to = byNumber.get(known.pairs[String(column.n)] ?? -1);
      if (to === undefined || to.generated) continue;
      const value = missingValue(column, known.versions[i]?.missing ?? {});
      const sql = typesOf(known, column.n, i + 1)
        .slice(1)
        .reduce((v, type) => `(${v})::${type}`, value);
      out.push({ name: quoteIdent(to.name), sql });
    }
  }
  return out;
}

function missingValue(column: ColumnShape, missing: Readonly<Record<string, string | null>>): string {
  const value = missing[String(column.n)];
  return value == null ? 'NULL' : `${quoteLiteral(value)}::${column.type}`;
}
