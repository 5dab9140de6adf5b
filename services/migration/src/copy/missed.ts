/**
 * Rows that an update met neither under its old nor its new key while it left large values unchanged: nobody sent those
 * values, so the row must be read from the source again (pitfall 24). The apply worker notes them in drover.copy; here they become the scope of a
 * further pass of the same copy, with its own snapshot and its own lenient window.
 */
import { quoteIdent, quoteLiteral } from '@drover/pg';
import type { TenantTable } from '../scope.ts';

export interface MissedRow {
  readonly schema: string;
  readonly table: string;
  /** Key column to its value as apply describes it: text, number, boolean; otherwise in a form that is not known here. */
  readonly key: Readonly<Record<string, unknown>>;
}

/** The tables of the missed rows, each limited to those rows. Pure. A table whose key is not known is taken whole. */
export function limitedTo(missed: readonly MissedRow[], tables: readonly TenantTable[]): TenantTable[] {
  return tables.flatMap((table) => {
    const own = missed.filter((row) => row.schema === table.schema && row.table === table.name);
    if (own.length === 0) return [];
    const conditions = own.map((row) => conditionOf(row, table));
    // Under a rule the replica's keys are not those of the source.
    if (conditions.includes(null) || table.ruled?.keyTouched === true) return [table];
    return [{ ...table, where: `${table.where} AND (${[...new Set(conditions)].join(' OR ')})` }];
  });
}

function conditionOf(row: MissedRow, table: TenantTable): string | null {
  const parts = Object.entries(row.key).map(([name, value]) => {
    const type = table.key?.find((k) => k.name === name)?.type;
    const text = textOf(value);
    return type === undefined || text === null
      ? null
      : `${quoteIdent(name)} = ${quoteLiteral(text)}::${type}`;
  });
  return parts.length === 0 || parts.includes(null) ? null : `(${parts.join(' AND ')})`;
}

function textOf(value: unknown): string | null {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : null;
}
