/** Which rows belong to a tenant: its tables and, in each, the condition that selects its rows. */
import { SHARED, type TenantId } from '@drover/core';
import {
  type ClassifiedTable,
  type ColumnInfo,
  classifyTables,
  publishedTables,
  type Queryable,
  quoteIdent,
  quoteLiteral,
  readTables,
  type TableInfo,
  type Tagging,
  tenantColumnKind,
} from '@drover/pg';

export interface TenantTable {
  readonly schema: string;
  readonly name: string;
  /** SQL condition over the table's columns. */
  readonly where: string;
  /** Columns that are written by copies: all but generated ones, in the table's order. */
  readonly columns: readonly string[];
  /** Columns that identify a row and order it; null when the table has no primary key. */
  readonly key: readonly { readonly name: string; readonly type: string }[] | null;
  readonly sizeBytes: number;
}

/** The tenant's captured tables in this database, small ones first. */
export async function tenantTables(
  client: Queryable,
  tagging: Tagging,
  database: string,
  tenant: TenantId,
): Promise<TenantTable[]> {
  const classified = classifyTables(await readTables(client), tagging, database);
  const published = new Set(publishedTables(classified).map((t) => t.oid));
  return classified
    .filter((c) => published.has(c.table.oid))
    .flatMap((c) => {
      const where = conditionOf(c, tenant);
      return where === null ? [] : [toTenantTable(c.table, where)];
    })
    .sort(
      (a, b) => a.sizeBytes - b.sizeBytes || `${a.schema}.${a.name}`.localeCompare(`${b.schema}.${b.name}`),
    );
}

/** Null when no row of the table can be the tenant's. */
export function conditionOf(c: ClassifiedTable, tenant: TenantId): string | null {
  const kind = c.class;
  switch (kind.kind) {
    case 'column': {
      const column = c.table.columns.find((x) => x.name === kind.column);
      if (column === undefined || tenant === SHARED) return null;
      return equals(column, tenant);
    }
    case 'schema':
      return kind.tenant === tenant ? 'true' : null;
    case 'reference':
      return tenant === SHARED ? 'true' : null;
    case 'excluded':
    case 'unclassified':
      return null;
  }
}

/**
 * Other spellings of a number or a uuid, and names cut to a column's length, are other tenants: `'007'::integer` would select the rows of
 * tenant 7 (I6).
 */
function equals(column: ColumnInfo, tenant: TenantId): string | null {
  const name = quoteIdent(column.name);
  switch (tenantColumnKind(column.typeName)) {
    case 'text':
      return `${name} = ${quoteLiteral(tenant)}::text`;
    case 'integer': {
      const bound = INTEGER_MAX[column.typeName] ?? 0n;
      const value = /^(0|-?[1-9]\d{0,18})$/.test(tenant) ? BigInt(tenant) : null;
      if (value === null || value > bound || value < -bound - 1n) return null;
      return `${name} = ${quoteLiteral(tenant)}::${column.typeName}`;
    }
    case 'uuid':
      return UUID.test(tenant) ? `${name} = ${quoteLiteral(tenant)}::uuid` : null;
    case null:
      return `${name}::text = ${quoteLiteral(tenant)}`;
  }
}

/** As PostgreSQL prints it: lower case. */
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const INTEGER_MAX: Readonly<Record<string, bigint>> = {
  smallint: 2n ** 15n - 1n,
  integer: 2n ** 31n - 1n,
  bigint: 2n ** 63n - 1n,
};

function toTenantTable(table: TableInfo, where: string): TenantTable {
  const typeOf = (name: string) => table.columns.find((c) => c.name === name)?.typeName ?? 'text';
  return {
    schema: table.schema,
    name: table.name,
    where,
    columns: table.columns.filter((c) => c.generated === '').map((c) => c.name),
    key: table.primaryKey === null ? null : table.primaryKey.map((name) => ({ name, type: typeOf(name) })),
    sizeBytes: table.sizeBytes,
  };
}
