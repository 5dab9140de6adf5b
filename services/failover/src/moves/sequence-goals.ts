/** Which sequences must be moved on for a tenant, and how far. Pure. */
import type { TenantId } from '@drover/core';
import { classifyTable, type FedColumn, quoteTable, type Tagging, tenantCondition } from '@drover/pg';

export interface Wanted {
  readonly fed: FedColumn;
  /** SQL condition: the tenant's rows. */
  readonly where: string;
  /** Last number the old primary handed out for this column; null: none, or it was not asked. */
  readonly handedOut: bigint | null;
  /** The tenant's greatest value by an index, the whole table's by an index, or by reading the tenant's rows. */
  readonly read: 'tenant' | 'table' | 'scan';
}

/** @param before the same columns at the old primary */
export function wantedColumns(
  there: readonly FedColumn[],
  before: readonly FedColumn[],
  of: { tagging: Tagging; database: string; tenant: TenantId },
): Wanted[] {
  const key = (fed: FedColumn) => JSON.stringify([fed.schema, fed.table, fed.column]);
  const known = new Map(before.map((fed) => [key(fed), fed.sequence.last]));
  return there.flatMap((fed) => {
    const columns = fed.columns.map((column) => column.name);
    const kind = classifyTable(of.tagging, {
      schema: fed.schema,
      name: fed.table,
      columns,
      database: of.database,
    });
    const where = tenantCondition(kind, fed.columns, of.tenant);
    if (where === null) return [];
    const tenantColumn = kind.kind === 'column' ? kind.column : null;
    return [{ fed, where, handedOut: known.get(key(fed)) ?? null, read: howToRead(fed, tenantColumn) }];
  });
}

/** The tenant's own index first; without one that of all tenants, whose greatest value is at least as great. */
function howToRead(fed: FedColumn, tenantColumn: string | null): Wanted['read'] {
  if (tenantColumn !== null && fed.indexes.some(([a, b]) => a === tenantColumn && b === fed.column))
    return 'tenant';
  return fed.indexes.some(([a]) => a === fed.column) ? 'table' : 'scan';
}

export interface Goal {
  readonly oid: number;
  readonly name: string;
  /** The next number must lie beyond this one, in the sequence's direction. */
  readonly value: bigint;
}

/**
 * One goal a sequence, the furthest of its columns'; none where it is beyond already. Where a sequence goes round (CYCLE), rows say nothing of
 * where it stands: the old primary's word goes before theirs.
 */
export function goalsOf(wanted: readonly Wanted[], greatest: readonly (bigint | null)[]): Goal[] {
  const goals = new Map<number, { fed: FedColumn; value: bigint }>();
  wanted.forEach(({ fed, handedOut }, index) => {
    const row = greatest[index] ?? null;
    const value = fed.sequence.cycle && handedOut !== null ? handedOut : further(fed, row, handedOut);
    if (value === null) return;
    const other = goals.get(fed.sequence.oid);
    if (other === undefined || further(fed, other.value, value) === value)
      goals.set(fed.sequence.oid, { fed, value });
  });
  return [...goals.values()].flatMap(({ fed, value }) => {
    const { oid, schema, name, last } = fed.sequence;
    return last !== null && further(fed, last, value) === last
      ? []
      : [{ oid, name: quoteTable(schema, name), value }];
  });
}

/** In the direction in which the sequence counts. */
function further(fed: FedColumn, a: bigint | null, b: bigint | null): bigint | null {
  if (a === null || b === null) return a ?? b;
  return a > b === fed.sequence.increment > 0n ? a : b;
}
