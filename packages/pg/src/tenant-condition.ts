/** Which rows of a captured table are a tenant's, as SQL. Pure. */
import { SHARED, type TenantId } from '@drover/core';
import { quoteIdent, quoteLiteral } from './quote.ts';
import { tenantColumnKind } from './setup/protect-plan.ts';
import type { TableClass } from './tagging.ts';

/** Null when no row of the table can be the tenant's. */
export function tenantCondition(
  kind: TableClass,
  columns: readonly { readonly name: string; readonly typeName: string }[],
  tenant: TenantId,
): string | null {
  switch (kind.kind) {
    case 'column': {
      const column = columns.find((x) => x.name === kind.column);
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
function equals(
  column: { readonly name: string; readonly typeName: string },
  tenant: TenantId,
): string | null {
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
