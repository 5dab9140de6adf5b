/** Whether a database holds rows of a tenant already: then a replica must be copied, and cannot just follow the stream. */
import type { Config } from '@drover/config';
import { SHARED, type TenantId } from '@drover/core';
import {
  type ClassifiedTable,
  classifyTables,
  publishedTables,
  type Queryable,
  quoteIdent,
  quoteTable,
  readTables,
} from '@drover/pg';

export async function hasRows(
  client: Queryable,
  tagging: Config['tagging'],
  database: string,
  tenant: TenantId,
): Promise<boolean> {
  const classified = classifyTables(await readTables(client), tagging, database);
  const published = new Set(publishedTables(classified).map((t) => t.oid));
  const tables = classified.filter((c) => published.has(c.table.oid));
  // A name that is no value of a tenant column's type (`acme` for a bigint) has no rows there; casting it would fail.
  const types = [...new Set(tables.map(columnType).filter((type) => type !== null))];
  const { rows: valid } = await client.query<{ type: string }>(
    'SELECT t.type FROM unnest($2::text[]) AS t (type) WHERE pg_catalog.pg_input_is_valid($1, t.type)',
    [tenant, types],
  );
  const castable = new Set(valid.map((row) => row.type));
  const conditions = tables.flatMap((c) => condition(c, tenant, castable));
  if (conditions.length === 0) return false;
  const usesTenant = conditions.some((c) => c.includes('$1'));
  const { rows } = await client.query<{ found: boolean }>(
    `SELECT ${conditions.join(' OR ')} AS found`,
    usesTenant ? [tenant] : [],
  );
  return rows[0]?.found === true;
}

function columnType(c: ClassifiedTable): string | null {
  if (c.class.kind !== 'column') return null;
  const { column } = c.class;
  return c.table.columns.find((candidate) => candidate.name === column)?.typeName ?? null;
}

/** The column is compared in its own type, so that its index serves. */
function condition(c: ClassifiedTable, tenant: TenantId, castable: ReadonlySet<string>): string[] {
  const from = quoteTable(c.table.schema, c.table.name);
  switch (c.class.kind) {
    case 'column': {
      const type = columnType(c);
      if (tenant === SHARED || type === null || !castable.has(type)) return [];
      return [`EXISTS (SELECT FROM ${from} WHERE ${quoteIdent(c.class.column)} = $1::text::${type})`];
    }
    case 'schema':
      return c.class.tenant === tenant ? [`EXISTS (SELECT FROM ${from})`] : [];
    case 'reference':
      return tenant === SHARED ? [`EXISTS (SELECT FROM ${from})`] : [];
    case 'excluded':
    case 'unclassified':
      return [];
  }
}
