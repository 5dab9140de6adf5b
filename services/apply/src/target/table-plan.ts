/**
 * How rows of a source relation become rows of the target's table: columns matched by name, the key by which a row is
 * found, and what cannot be. Pure; a mismatch is `apply.schema` and names the table and column.
 */
import type { Relation } from '@drover/block';
import { DroverError } from '@drover/core';
import type { TargetColumn, TargetTable } from './target-table.ts';

export interface PlanColumn extends TargetColumn {
  /** Index in the source's tuples. */
  readonly source: number;
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
}

/** First OID of objects made by users; below, OIDs mean the same type on every server (access/transam.h). */
const FIRST_USER_OID = 16_384;
/** text, varchar, bpchar-free: same binary form. */
const TEXT_LIKE: ReadonlySet<number> = new Set([25, 1043]);

export function planTable(id: number, relation: Relation, target: TargetTable | null): TablePlan {
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
    const to = byName.get(from.name);
    if (to === undefined) {
      throw new DroverError('apply.schema', `the replica's table ${table} has no column "${from.name}"`, {
        hint: 'add it as on the source, then retry',
        facts: { table, column: from.name },
      });
    }
    if (to.generated) return;
    if (!compatible(from.typeOid, to.typeOid)) {
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
    columns.push({ ...to, source });
  });
  const key = keyOf(relation, target, columns);
  return {
    id,
    relation,
    target,
    columns,
    map,
    text: Uint8Array.from(columns, (column) => (column.textOnly ? 1 : 0)),
    key,
    keySource: key === null ? [] : key.map((index) => columns[index]?.source ?? -1),
  };
}

function compatible(source: number, target: number): boolean {
  if (source === target || source >= FIRST_USER_OID || target >= FIRST_USER_OID) return true;
  return TEXT_LIKE.has(source) && TEXT_LIKE.has(target);
}

/** The replica identity where it is a key; under FULL the target's primary key, as the whole old row is sent. */
function keyOf(relation: Relation, target: TargetTable, columns: readonly PlanColumn[]): number[] | null {
  let names: readonly string[];
  if (relation.identity === 'f') {
    if (target.primaryKey === null) return null;
    names = target.primaryKey;
  } else {
    names = relation.columns.filter((column) => column.key).map((column) => column.name);
    if (names.length === 0) return null;
  }
  const indexes: number[] = [];
  for (const name of names) {
    const index = columns.findIndex((column) => column.name === name);
    if (index < 0) return null;
    indexes.push(index);
  }
  return indexes.sort((a, b) => a - b);
}

/** What makes two versions of a relation the same for a plan. */
export function relationSignature(relation: Relation): string {
  let text = `${relation.schema}\u0000${relation.name}\u0000${relation.identity}`;
  for (const column of relation.columns)
    text += `\u0000${column.name}\u0001${column.typeOid}${column.key ? 'k' : ''}`;
  return text;
}
