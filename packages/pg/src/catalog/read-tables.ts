/** Every table of the database that is not PostgreSQL's or Drover's own, in one query (one snapshot of the catalog). */
import { type Queryable, queryRows } from '../schema/queryable.ts';
import type { ColumnInfo, TableInfo, TriggerInfo, UniqueIndexInfo } from './table-info.ts';

interface RawTable {
  [column: string]: unknown;
  oid: number;
  schema: string;
  name: string;
  owner: string;
  kind: 'r' | 'p';
  persistence: 'p' | 'u';
  replica_identity: 'd' | 'n' | 'f' | 'i';
  rls: boolean;
  force_rls: boolean;
  partition_of: number | null;
  inherits: number[];
  size_bytes: string;
  columns: ColumnInfo[];
  unique_indexes: (UniqueIndexInfo & { identity: boolean })[];
  triggers: TriggerInfo[];
}

const TABLES = `
SELECT c.oid::bigint::float8 AS oid, n.nspname::text AS schema, c.relname::text AS name, r.rolname::text AS owner,
  c.relkind AS kind, c.relpersistence AS persistence, c.relreplident AS replica_identity,
  c.relrowsecurity AS rls, c.relforcerowsecurity AS force_rls,
  CASE WHEN c.relispartition THEN (SELECT i.inhparent::bigint::float8 FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid) END
    AS partition_of,
  CASE WHEN c.relispartition THEN '[]'::json ELSE (SELECT coalesce(pg_catalog.json_agg(i.inhparent::bigint ORDER BY i.inhseqno), '[]'::json)
    FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid) END AS inherits,
  CASE c.relkind WHEN 'p' THEN
    (SELECT coalesce(pg_catalog.sum(pg_catalog.pg_table_size(t.relid)), 0) FROM pg_catalog.pg_partition_tree(c.oid) t WHERE t.isleaf)
    ELSE coalesce(pg_catalog.pg_table_size(c.oid), 0) END::text AS size_bytes,
  (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
      'name', a.attname, 'typeOid', a.atttypid::bigint, 'typeName', pg_catalog.format_type(a.atttypid, a.atttypmod),
      'typmod', a.atttypmod, 'notNull', a.attnotnull, 'generated', a.attgenerated, 'identity', a.attidentity,
      'hasDefault', a.atthasdef AND a.attgenerated = '') ORDER BY a.attnum), '[]'::json)
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
  (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
      'name', ic.relname, 'primary', x.indisprimary, 'partial', x.indpred IS NOT NULL, 'immediate', x.indimmediate,
      'valid', x.indisvalid AND x.indisready, 'nullsNotDistinct', x.indnullsnotdistinct, 'identity', x.indisreplident,
      'columns', (SELECT pg_catalog.json_agg(a.attname ORDER BY k.position)
         FROM pg_catalog.unnest(x.indkey::int2[]) WITH ORDINALITY AS k (attnum, position)
         LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum AND k.attnum > 0
         WHERE k.position <= x.indnkeyatts)) ORDER BY x.indisprimary DESC, ic.relname), '[]'::json)
    FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class ic ON ic.oid = x.indexrelid
    WHERE x.indrelid = c.oid AND x.indisunique) AS unique_indexes,
  (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('name', g.tgname, 'enabled', g.tgenabled) ORDER BY g.tgname), '[]'::json)
    FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal) AS triggers
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
WHERE c.relkind IN ('r', 'p') AND c.relpersistence IN ('p', 'u')
  AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'drover')
  AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
                  AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e')
ORDER BY n.nspname, c.relname`;

/** Ordinary and partitioned tables and partitions; not views, foreign and temporary tables, nor members of extensions. */
export async function readTables(client: Queryable): Promise<TableInfo[]> {
  return (await queryRows<RawTable>(client, TABLES)).map(toTableInfo);
}

function toTableInfo(raw: RawTable): TableInfo {
  const primary = raw.unique_indexes.find((index) => index.primary);
  const primaryKey = primary === undefined ? null : namedColumns(primary);
  return {
    oid: raw.oid,
    schema: raw.schema,
    name: raw.name,
    columns: raw.columns,
    primaryKey,
    replicaIdentity: raw.replica_identity,
    identityColumns: identityColumns(raw, primaryKey),
    partitionOf: raw.partition_of,
    isPartitioned: raw.kind === 'p',
    inherits: raw.inherits,
    persistence: raw.persistence === 'u' ? 'unlogged' : 'permanent',
    owner: raw.owner,
    sizeBytes: Number(raw.size_bytes),
    uniqueIndexes: raw.unique_indexes.map(withoutMark),
    triggers: raw.triggers,
    rls: { enabled: raw.rls, forced: raw.force_rls },
  };
}

/** Without a primary key the default identity is none; likewise when the identity's index was dropped (ALTER TABLE manual). */
function identityColumns(raw: RawTable, primaryKey: string[] | null): string[] {
  switch (raw.replica_identity) {
    case 'd':
      return primaryKey ?? [];
    case 'i': {
      const index = raw.unique_indexes.find((candidate) => candidate.identity);
      return index === undefined ? [] : namedColumns(index);
    }
    case 'f':
      return raw.columns.map((column) => column.name);
    case 'n':
      return [];
  }
}

function withoutMark(index: RawTable['unique_indexes'][number]): UniqueIndexInfo {
  const { name, columns, primary, partial, immediate, valid, nullsNotDistinct } = index;
  return { name, columns, primary, partial, immediate, valid, nullsNotDistinct };
}

function namedColumns(index: UniqueIndexInfo): string[] {
  return index.columns.filter((name) => name !== null);
}
