/** Tables and types of the catalog as pgoutput would describe them. */
import type { Relation } from '@drover/block';
import type { Queryable, TableInfo } from '@drover/pg';

/** A table as its Relation message. */
export function relationOf(table: TableInfo): Relation {
  return {
    oid: table.oid,
    schema: table.schema,
    name: table.name,
    identity: table.replicaIdentity,
    columns: table.columns
      .filter((column) => column.generated === '')
      .map(({ name, typeOid, typmod }) => ({
        name,
        typeOid,
        typmod,
        key: table.replicaIdentity === 'f' || table.identityColumns.includes(name),
      })),
  };
}

const BASE_TYPES = `WITH RECURSIVE d AS (
    SELECT oid, typbasetype AS base FROM pg_catalog.pg_type WHERE typtype = 'd'
    UNION ALL SELECT d.oid, t.typbasetype FROM d JOIN pg_catalog.pg_type t ON t.oid = d.base WHERE t.typtype = 'd')
  SELECT d.oid::int8::float8 AS oid, d.base::int8::float8 AS base FROM d JOIN pg_catalog.pg_type t ON t.oid = d.base WHERE t.typtype <> 'd'`;

/** Domains to the type below; all others to themselves. */
export async function readBaseTypes(client: Queryable): Promise<(typeOid: number) => number> {
  const { rows } = await client.query<{ oid: number; base: number }>(BASE_TYPES);
  const bases = new Map(rows.map(({ oid, base }) => [oid, base]));
  return (oid) => bases.get(oid) ?? oid;
}
