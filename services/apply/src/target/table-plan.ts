/**
 * How rows of a source relation become rows of the target's table: columns matched by name, the key by which a row is
 * found, and what cannot be. Pure; a mismatch is `apply.schema` and names the table and column.
 */
import type { Relation } from '@drover/block';
import { DroverError, must } from '@drover/core';
import type { Resolved } from '../ddl/versions.ts';
import type { TargetColumn, TargetTable } from './target-table.ts';

export interface PlanColumn extends TargetColumn {
  /** Index in the source's tuples. */
  readonly source: number;
  /** Type of its values, SQL, where they must be converted; and the types they go through. */
  readonly from: string | null;
  readonly via: readonly string[];
}

export interface TablePlan {
  /** Unique among the plans of one session: names staging tables and statements. */
  readonly id: number;
  readonly relation: Relation;
  readonly target: TargetTable;
  /** Columns that are written, in the order of the source's tuples. */
  readonly columns: readonly PlanColumn[];
  /** Source index to index in `columns`, or -1 when the target computes the column itself. */
  readonly map: Int32Array;
  /** By index in `columns`: 1 when its values travel as text. */
  readonly text: Uint8Array;
  /** The key, as indexes in `columns`, ascending; null when rows can only be found by all their values. */
  readonly key: readonly number[] | null;
  /** The key as source indexes, ascending; empty without key. */
  readonly keySource: readonly number[];
  /** Columns that came after the rows were written, with what rows from then have in them: name and value, SQL. */
  readonly constants: Resolved['constants'];
  /** Values cannot go straight into the table. */
  readonly converts: boolean;
  /** Rows of two keys, told apart by their bytes, are never in each other's way. */
  readonly onlyKeyUnique: boolean;
  /** A column outside the key is generated ALWAYS AS IDENTITY: no UPDATE may set it to a value, so rows are taken out and put back. */
  readonly replaces: boolean;
}

/** From here on each server gives out OIDs itself, initdb first; below, they mean the same type everywhere (access/transam.h). */
const FIRST_OWN_OID = 10_000;
/** text, varchar, bpchar-free: same binary form. */
const TEXT_LIKE: ReadonlySet<number> = new Set([25, 1043]);

/** `resolved`: what stands for what, where schema changes were told; names decide otherwise. `text`: all values come as text. */
export function planTable(
  id: number,
  relation: Relation,
  target: TargetTable | null,
  resolved: Resolved | null = null,
  text = false,
): TablePlan {
  const table = `${relation.schema}.${relation.name}`;
  if (target === null) {
    throw new DroverError('apply.schema', `the replica has no table ${table}`, {
      hint: 'create it as on the source, then retry',
      facts: { table },
    });
  }
  const byName = new Map(target.columns.map((column) => [column.name, column]));
  const columns: PlanColumn[] = [];
  const map = new Int32Array(relation.columns.length).fill(-1);
  relation.columns.forEach((from, source) => {
    const found = resolved?.columns[source];
    if (found === null) return; // dropped since
    const to = found?.to ?? byName.get(from.name);
    if (to === undefined) {
      throw new DroverError('apply.schema', `the replica's table ${table} has no column "${from.name}"`, {
        hint: 'add it as on the source, then retry',
        facts: { table, column: from.name },
      });
    }
    if (to.generated) return;
    const [conversion = null, ...via] = found?.through ?? [];
    if (conversion === null && !compatible(from.typeOid, to.typeOid)) {
      throw new DroverError(
        'apply.schema',
        `column "${from.name}" of ${table} has another type on the replica`,
        {
          hint: `it is ${to.castType} there; give it the source's type, then retry`,
          facts: { table, column: from.name, sourceType: from.typeOid, targetType: to.typeOid },
        },
      );
    }
    map[source] = columns.length;
    const plain = via.length === 0 && compatible(from.typeOid, to.typeOid);
    const textOnly = text || to.textOnly;
    columns.push({ ...to, textOnly, source, from: plain ? null : conversion, via });
  });
  const key = keyOf(relation, target, columns, map);
  return {
    id,
    relation,
    target,
    columns,
    map,
    text: Uint8Array.from(columns, (column) => (column.textOnly ? 1 : 0)),
    key,
    keySource: key === null ? [] : key.map((index) => columns[index]?.source ?? -1),
    constants: resolved?.constants ?? [],
    converts: (resolved?.constants ?? []).length > 0 || columns.some((column) => column.from !== null),
    onlyKeyUnique:
      key !== null &&
      isOnlyUnique(
        target,
        key.map((index) => must(columns[index], 'a key column')),
      ),
    replaces: columns.some((column, index) => column.identityAlways && key?.includes(index) !== true),
  };
}

/** The key is the primary key, and all that is unique; on a partition there may be more. */
function isOnlyUnique(target: TargetTable, key: readonly PlanColumn[]): boolean {
  if (target.partitioned || target.otherUnique || target.primaryKey?.length !== key.length) return false;
  return key.every(({ name, exact, from }) => exact && from === null && target.primaryKey?.includes(name));
}

function compatible(source: number, target: number): boolean {
  if (source === target || source >= FIRST_OWN_OID || target >= FIRST_OWN_OID) return true;
  return TEXT_LIKE.has(source) && TEXT_LIKE.has(target);
}

/** The replica identity where it is a key; under FULL the target's primary key, as the whole old row is sent. */
function keyOf(
  relation: Relation,
  target: TargetTable,
  columns: readonly PlanColumn[],
  map: Int32Array,
): number[] | null {
  if (relation.identity === 'f') {
    if (target.primaryKey === null) return null;
    const indexes = target.primaryKey.map((name) => columns.findIndex((column) => column.name === name));
    return indexes.includes(-1) ? null : indexes.sort((a, b) => a - b);
  }
  const indexes: number[] = [];
  for (const [source, column] of relation.columns.entries()) {
    if (!column.key) continue;
    const index = map[source] ?? -1;
    if (index < 0 && !target.columns.some((c) => c.name === column.name && c.generated)) {
      throw new DroverError(
        'apply.schema',
        `key column "${column.name}" of ${relation.schema}.${relation.name} is gone on the replica`,
        { hint: 'copy the tenant anew', facts: { column: column.name } },
      );
    }
    if (index < 0) return null;
    indexes.push(index);
  }
  if (indexes.length === 0) return null;
  return indexes.sort((a, b) => a - b);
}

/** What makes two versions of a relation the same for a plan. */
export function relationSignature(relation: Relation): string {
  let text = `${relation.schema}\u0000${relation.name}\u0000${relation.identity}`;
  for (const column of relation.columns)
    text += `\u0000${column.name}\u0001${column.typeOid}${column.key ? 'k' : ''}`;
  return text;
}
