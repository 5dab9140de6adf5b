/**
 * Rows that an update met neither under its old nor its new key while it left large values unchanged: nobody sent those
 * values, so the row must be read from the source again (pitfall 24). The apply worker notes them in drover.copy; here they become the scope of a
 * further pass of the same copy, with its own snapshot and its own lenient window.
 */
import { quoteIdent, quoteLiteral } from '@drover/pg';
import type { TenantTable } from '../scope.ts';
import type { TargetClient } from './target.ts';

export interface MissedRow {
  readonly schema: string;
  readonly table: string;
  /** Key column to its value as text. */
  readonly key: Readonly<Record<string, string | null>>;
}

export async function readMissed(target: TargetClient, tenant: string): Promise<MissedRow[]> {
  const { rows } = await target.query<{ missed: MissedRow[] | null }>(
    `SELECT progress -> 'missed' AS missed FROM drover.copy WHERE tenant = $1`,
    [tenant],
  );
  return rows[0]?.missed ?? [];
}

/** The tables of the missed rows, each limited to those rows. Pure. A table whose key is not known is taken whole. */
export function limitedTo(missed: readonly MissedRow[], tables: readonly TenantTable[]): TenantTable[] {
  return tables.flatMap((table) => {
    const own = missed.filter((row) => row.schema === table.schema && row.table === table.name);
    if (own.length === 0) return [];
    const conditions = own.map((row) => conditionOf(row, table));
    if (conditions.includes(null)) return [table];
    return [{ ...table, where: `${table.where} AND (${[...new Set(conditions)].join(' OR ')})` }];
  });
}

function conditionOf(row: MissedRow, table: TenantTable): string | null {
  const parts = Object.entries(row.key).map(([name, value]) => {
    const type = table.key?.find((k) => k.name === name)?.type;
    return type === undefined || value === null
      ? null
      : `${quoteIdent(name)} = ${quoteLiteral(value)}::${type}`;
  });
  return parts.length === 0 || parts.includes(null) ? null : `(${parts.join(' AND ')})`;
}
