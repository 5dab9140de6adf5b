/** Which rows belong to a tenant: its tables and, in each, the condition that selects its rows. */
import type { TenantId } from '@drover/core';
import {
  classifyTables,
  publishedTables,
  type Queryable,
  readTables,
  type TableInfo,
  type Tagging,
  tenantCondition,
} from '@drover/pg';

import { type RuledTable, ruledTables, type TenantRules } from './ruled.ts';

export interface TenantTable {
  /** At the source. */
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** SQL condition over the table's columns. */
  readonly where: string;
  /** Columns that are written by copies: all but generated ones, in the table's order. */
  readonly columns: readonly string[];
  /** Columns that identify a row and order it; null when the table has no primary key. */
  readonly key: readonly { readonly name: string; readonly type: string }[] | null;
  readonly sizeBytes: number;
  /** Absent: the target holds the rows as they are. */
  readonly ruled?: RuledTable;
}

/** The tenant's captured tables in this database, small ones first. */
export async function tenantTables(
  client: Queryable,
  tagging: Tagging,
  database: string,
  tenant: TenantId,
  rules: TenantRules | null = null,
): Promise<TenantTable[]> {
  const classified = classifyTables(await readTables(client), tagging, database);
  const published = new Set(publishedTables(classified).map((t) => t.oid));
  const ruled = rules === null ? null : await ruledTables(client, rules);
  return classified
    .filter((c) => published.has(c.table.oid))
    .flatMap((c) => {
      const where = tenantCondition(c.class, c.table.columns, tenant);
      if (where === null) return [];
      const found = ruled?.(c.table, c.class) ?? null;
      return [{ ...toTenantTable(c.table, where), ...(found === null ? {} : { ruled: found }) }];
    })
    .sort(
      (a, b) => a.sizeBytes - b.sizeBytes || `${a.schema}.${a.name}`.localeCompare(`${b.schema}.${b.name}`),
    );
}

function toTenantTable(table: TableInfo, where: string): TenantTable {
  const typeOf = (name: string) => table.columns.find((c) => c.name === name)?.typeName ?? 'text';
  return {
    oid: table.oid,
    schema: table.schema,
    name: table.name,
    where,
    columns: table.columns.filter((c) => c.generated === '').map((c) => c.name),
    key: table.primaryKey === null ? null : table.primaryKey.map((name) => ({ name, type: typeOf(name) })),
    sizeBytes: table.sizeBytes,
  };
}
