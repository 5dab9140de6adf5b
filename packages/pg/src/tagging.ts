/**
 * Which tenant a table's rows belong to, decided by the configuration alone. Pure. A table that nothing decides is
 * `unclassified`: it is never captured silently and never left out silently (I8).
 */
import { type TenantId, tenantId } from '@drover/core';

/** `Config['tagging']`, declared here because packages of one floor do not import each other. */
export interface Tagging {
  readonly mode: 'column' | 'schema' | 'database';
  readonly column: string;
  /** `schema.table` -> column. Holds in every mode: a shared table among schemas of tenants. */
  readonly overrides: Readonly<Record<string, string>>;
  /** `schema.table`, or `schema.*`. */
  readonly reference: readonly string[];
  readonly exclude: readonly string[];
  readonly schemaPrefix: string;
  readonly databasePrefix: string;
}

export interface TableShape {
  readonly schema: string;
  readonly name: string;
  readonly columns: readonly string[];
  /** Needed in database mode. */
  readonly database?: string;
}

export type TableClass =
  | { readonly kind: 'column'; readonly column: string }
  /** The whole table belongs to one tenant: by its schema's name, or in database mode by the database's. */
  | { readonly kind: 'schema'; readonly tenant: TenantId }
  | { readonly kind: 'reference' }
  | { readonly kind: 'excluded' }
  | { readonly kind: 'unclassified'; readonly why: string };

/** exclude beats reference beats overrides beats the mode. */
export function classifyTable(tagging: Tagging, table: TableShape): TableClass {
  const full = `${table.schema}.${table.name}`;
  if (isSystemSchema(table.schema) || lists(tagging.exclude, table)) return { kind: 'excluded' };
  if (lists(tagging.reference, table)) return { kind: 'reference' };
  const override = Object.hasOwn(tagging.overrides, full) ? tagging.overrides[full] : undefined;
  if (override !== undefined) {
    if (table.columns.includes(override)) return { kind: 'column', column: override };
    return { kind: 'unclassified', why: `tagging.overrides names column "${override}", which ${full} lacks` };
  }
  switch (tagging.mode) {
    case 'column':
      if (table.columns.includes(tagging.column)) return { kind: 'column', column: tagging.column };
      return { kind: 'unclassified', why: `${full} has no column "${tagging.column}"` };
    case 'schema':
      return wholeTable(table.schema, tagging.schemaPrefix, 'schema');
    case 'database':
      if (table.database === undefined)
        return { kind: 'unclassified', why: `the database of ${full} is unknown` };
      return wholeTable(table.database, tagging.databasePrefix, 'database');
  }
}

function wholeTable(name: string, prefix: string, what: 'schema' | 'database'): TableClass {
  if (!name.startsWith(prefix)) {
    return { kind: 'unclassified', why: `${what} "${name}" does not start with "${prefix}"` };
  }
  try {
    return { kind: 'schema', tenant: tenantId(name.slice(prefix.length)) };
  } catch {
    return {
      kind: 'unclassified',
      why: `${what} "${name}" leaves no usable tenant name behind the prefix "${prefix}"`,
    };
  }
}

/** Schemas no user's table lives in: PostgreSQL's own, and ours. */
function isSystemSchema(schema: string): boolean {
  return schema === 'drover' || schema === 'information_schema' || schema.startsWith('pg_');
}

function lists(names: readonly string[], table: TableShape): boolean {
  return names.includes(`${table.schema}.${table.name}`) || names.includes(`${table.schema}.*`);
}
