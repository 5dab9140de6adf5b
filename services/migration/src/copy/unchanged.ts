/**
 * Between the first look at the tenant's tables and the place in the stream from which it is followed, a schema change may have come that is in neither: a table
 * whose first rows nobody would copy, a column whose values nobody would. Once the tables are locked they are looked at again.
 */
import type { TenantTable } from '../scope.ts';
import { BeginAnew } from './begin-anew.ts';
import type { Job } from './context.ts';
import { tableName } from './record.ts';

/** @throws BeginAnew when the tables are others than those the attempt began with */
export async function requireUnchanged({
  tables,
  tablesNow,
}: Pick<Job, 'tables' | 'tablesNow'>): Promise<void> {
  const [first] = changedTables(tables, await tablesNow());
  if (first === undefined) return;
  throw new BeginAnew('copy.failed', `${first} was changed while the copy began; it begins anew`, {
    facts: { table: first },
  });
}

/** Names of tables that came, went, or are read by other columns, key or condition. Pure. */
export function changedTables(before: readonly TenantTable[], now: readonly TenantTable[]): string[] {
  const known = new Map(before.map((table) => [tableName(table), shapeOf(table)]));
  const changed = now.filter((table) => known.get(tableName(table)) !== shapeOf(table)).map(tableName);
  const there = new Set(now.map(tableName));
  return [...changed, ...before.map(tableName).filter((name) => !there.has(name))];
}

function shapeOf({ oid, where, columns, key, ruled }: TenantTable): string {
  return JSON.stringify([oid, where, columns, key, ruled?.columns ?? null]);
}
