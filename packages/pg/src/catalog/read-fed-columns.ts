/** Columns that draw their values from a sequence: identity, serial, or a default that calls nextval. Shell: one query of the catalog. */
import { type Queryable, queryRows } from '../schema/queryable.ts';

export interface FedColumn {
  /** The table; of a partition its root. */
  readonly schema: string;
  readonly table: string;
  readonly column: string;
  /** Columns of the table, for its classification. */
  readonly columns: readonly { readonly name: string; readonly typeName: string }[];
  /** Leading two columns of each usable btree index of the table; an expression is null. */
  readonly indexes: readonly (readonly (string | null)[])[];
  /** Its values are the sequence's own, as integers: the greatest of them says how far the sequence has come. */
  readonly plain: boolean;
  readonly sequence: {
    readonly oid: number;
    readonly schema: string;
    readonly name: string;
    readonly increment: bigint;
    readonly min: bigint;
    readonly max: bigint;
    readonly cycle: boolean;
    /** Last number handed out, or held in advance; null: none was. */
    readonly last: bigint | null;
  };
}

interface RawFedColumn {
  [column: string]: unknown;
  schema: string;
  table: string;
  column: string;
  columns: FedColumn['columns'];
  indexes: FedColumn['indexes'];
  plain: boolean;
  oid: number;
  sequence_schema: string;
  sequence_name: string;
  increment: string;
  min: string;
  max: string;
  cycle: boolean;
  last: string | null;
}

/** int8, int2, int4, numeric. */
const NUMBERS = '20, 21, 23, 1700';

const FED_COLUMNS = `
WITH fed AS (
  SELECT u.seq, u.rel, u.att, coalesce(bool_and(u.plain), true) AS plain FROM (
    SELECT d.objid AS seq, d.refobjid AS rel, d.refobjsubid AS att, NULL::boolean AS plain FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
    UNION ALL
    SELECT d.refobjid, ad.adrelid, ad.adnum, pg_catalog.pg_get_expr(ad.adbin, ad.adrelid) ~ '^nextval\\(''([^'']|'''')*''::regclass\\)(::[a-z]+)?$'
    FROM pg_catalog.pg_attrdef ad JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = ad.oid
      AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> ad.adrelid) u
  GROUP BY 1, 2, 3),
-- A partition's column is its root's, by name.
rooted AS (
  SELECT f.seq, coalesce(pg_catalog.pg_partition_root(f.rel)::oid, f.rel) AS rel, a.attname, bool_and(f.plain) AS plain
  FROM fed f JOIN pg_catalog.pg_attribute a ON a.attrelid = f.rel AND a.attnum = f.att GROUP BY 1, 2, 3)
SELECT n.nspname::text AS schema, c.relname::text AS table, r.attname::text AS column, r.plain AND b.base IN (${NUMBERS}) AS plain,
  (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', x.attname, 'typeName', pg_catalog.format_type(x.atttypid, x.atttypmod)) ORDER BY x.attnum)
   FROM pg_catalog.pg_attribute x WHERE x.attrelid = c.oid AND x.attnum > 0 AND NOT x.attisdropped) AS columns,
  (SELECT coalesce(pg_catalog.json_agg((SELECT pg_catalog.json_agg(y.attname ORDER BY k.n)
       FROM pg_catalog.unnest(x.indkey::int2[]) WITH ORDINALITY k (att, n)
       LEFT JOIN pg_catalog.pg_attribute y ON y.attrelid = c.oid AND y.attnum = k.att AND k.att > 0 WHERE k.n <= least(2, x.indnkeyatts))), '[]'::json)
   FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid JOIN pg_catalog.pg_am m ON m.oid = i.relam
   WHERE x.indrelid = c.oid AND x.indisvalid AND x.indpred IS NULL AND m.amname = 'btree') AS indexes,
  s.seqrelid::bigint::float8 AS oid, sn.nspname::text AS sequence_schema, sc.relname::text AS sequence_name, s.seqincrement::text AS increment,
  s.seqmin::text AS min, s.seqmax::text AS max, s.seqcycle AS cycle,
  CASE WHEN pg_catalog.has_sequence_privilege(s.seqrelid, 'SELECT') THEN pg_catalog.pg_sequence_last_value(s.seqrelid) END::text AS last
FROM rooted r
JOIN pg_catalog.pg_class c ON c.oid = r.rel AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'drover')
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = r.attname AND NOT a.attisdropped
JOIN pg_catalog.pg_sequence s ON s.seqrelid = r.seq
JOIN pg_catalog.pg_class sc ON sc.oid = s.seqrelid JOIN pg_catalog.pg_namespace sn ON sn.oid = sc.relnamespace
CROSS JOIN LATERAL (
  WITH RECURSIVE up (oid, n) AS (
    SELECT a.atttypid, 0 UNION ALL SELECT d.typbasetype, up.n + 1 FROM up JOIN pg_catalog.pg_type d ON d.oid = up.oid AND d.typtype = 'd')
  SELECT up.oid AS base FROM up ORDER BY up.n DESC LIMIT 1) b
ORDER BY 1, 2, 3, s.seqrelid`;

export async function readFedColumns(client: Queryable): Promise<FedColumn[]> {
  const rows = await queryRows<RawFedColumn>(client, FED_COLUMNS);
  return rows.map((row) => ({
    schema: row.schema,
    table: row.table,
    column: row.column,
    columns: row.columns,
    indexes: row.indexes,
    plain: row.plain,
    sequence: {
      oid: row.oid,
      schema: row.sequence_schema,
      name: row.sequence_name,
      increment: BigInt(row.increment),
      min: BigInt(row.min),
      max: BigInt(row.max),
      cycle: row.cycle,
      last: row.last === null ? null : BigInt(row.last),
    },
  }));
}
