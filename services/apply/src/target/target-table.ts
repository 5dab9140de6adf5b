/** One table of the target as the apply worker must know it, read from the catalog. */
import type { Flyer } from './session.ts';

export interface TargetColumn {
  readonly attnum: number;
  readonly name: string;
  readonly typeOid: number;
  /** Type for staging tables: domains as their base type, no length limits. */
  readonly stageType: string;
  /** The column's own type, quoted, for casts. */
  readonly castType: string;
  /** Its values travel as text: the type has no binary form. */
  readonly textOnly: boolean;
  readonly generated: boolean;
  readonly identityAlways: boolean;
  /** PostgreSQL has an equality for it, so that values can be compared without going through text. */
  readonly hasEquality: boolean;
  /** Qualified equality operator: of the primary key's index, elsewhere of the type. */
  readonly equals: string;
  /** Two values are equal exactly when their bytes are. */
  readonly exact: boolean;
}

export interface TargetTable {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly partitioned: boolean;
  readonly columns: readonly TargetColumn[];
  readonly primaryKey: readonly string[] | null;
  /** Unique or exclusion constraints beside the primary key. */
  readonly otherUnique: boolean;
}

/** bool, bytea, int8, int2, int4, text, oid, date, time, timestamp, timestamptz, varchar, uuid (pg_type.dat). */
const EXACT_TYPES = '{16,17,20,21,23,25,26,1082,1083,1114,1184,1043,2950}';

const TABLE_SQL = `
SELECT a.attrelid::bigint, c.relkind, a.attname, a.atttypid::bigint,
  pg_catalog.format_type(b.base, -1), pg_catalog.format_type(a.atttypid, -1),
  a.attgenerated <> '', a.attidentity = 'a',
  EXISTS (SELECT FROM pg_catalog.pg_opclass o WHERE o.opcdefault AND o.opcmethod IN (403, 405) AND o.opcnamespace = 'pg_catalog'::regnamespace
    AND (o.opcintype = b.base
      OR (o.opcintype = 'pg_catalog.text'::regtype AND b.base IN ('pg_catalog.varchar'::regtype))
      OR (o.opcintype = 'pg_catalog.anyenum'::regtype AND t.typtype = 'e')
      OR (o.opcintype = 'pg_catalog.anyrange'::regtype AND t.typtype = 'r'))),
  coalesce(array_position(i.indkey::int2[], a.attnum), -1),
  (SELECT pg_catalog.quote_ident(n.nspname) || '.' || op.oprname
   FROM pg_catalog.pg_opclass oc
   JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3 AND ao.amopmethod = 403
     AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
   JOIN pg_catalog.pg_operator op ON op.oid = ao.amopopr JOIN pg_catalog.pg_namespace n ON n.oid = op.oprnamespace
   WHERE oc.opcmethod = 403 AND (oc.oid = i.indclass[array_position(i.indkey::int2[], a.attnum)]
     -- A type of an extension is compared by its own operator, wherever that lies.
     OR array_position(i.indkey::int2[], a.attnum) IS NULL AND oc.opcdefault AND oc.opcintype = b.base AND oc.opcnamespace <> 'pg_catalog'::regnamespace)
   LIMIT 1),
  t.typsend = 0, a.attnum, ns.nspname, c.relname,
  b.base = ANY ('${EXACT_TYPES}'::oid[]) AND coalesce((SELECT l.collisdeterministic FROM pg_catalog.pg_collation l WHERE l.oid = a.attcollation), true),
  EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid AND (x.indisexclusion OR x.indisunique AND NOT x.indisprimary))
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace ns ON ns.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
CROSS JOIN LATERAL (
  WITH RECURSIVE up(oid, n) AS (
    SELECT a.atttypid, 0
    UNION ALL SELECT d.typbasetype, up.n + 1 FROM up JOIN pg_catalog.pg_type d ON d.oid = up.oid AND d.typtype = 'd')
  SELECT up.oid AS base FROM up ORDER BY up.n DESC LIMIT 1) b
JOIN pg_catalog.pg_type t ON t.oid = b.base
LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE {which} AND c.relkind IN ('r', 'p')
ORDER BY a.attnum`;

/** The table, or null when the target has none of that name. */
export async function readTargetTable(
  flyer: Flyer,
  schema: string,
  name: string,
): Promise<TargetTable | null> {
  const sql = TABLE_SQL.replace('{which}', 'ns.nspname = $1 AND c.relname = $2');
  return toTable(await flyer.rows(sql, [schema, name]));
}

export async function readTargetTableByOid(flyer: Flyer, oid: number): Promise<TargetTable | null> {
  return toTable(await flyer.rows(TABLE_SQL.replace('{which}', 'c.oid = $1::oid'), [String(oid)]));
}

function toTable(rows: readonly (readonly (string | null)[])[]): TargetTable | null {
  const first = rows[0];
  if (first === undefined) return null;
  const key: [number, string][] = [];
  const columns = rows.map((f): TargetColumn => {
    const column = f[2] ?? '';
    // int2vector counts from 0 (manual, 8.15): position 0 is the first column of the key.
    const position = Number(f[9]);
    if (position >= 0) key.push([position, column]);
    return {
      attnum: Number(f[12]),
      name: column,
      typeOid: Number(f[3]),
      stageType: f[4] ?? '',
      castType: f[5] ?? '',
      textOnly: f[11] === 't',
      generated: f[6] === 't',
      identityAlways: f[7] === 't',
      hasEquality: f[8] === 't',
      equals: f[10] ?? 'pg_catalog.=',
      exact: f[15] === 't',
    };
  });
  key.sort((a, b) => a[0] - b[0]);
  return {
    oid: Number(first[0]),
    schema: first[13] ?? '',
    name: first[14] ?? '',
    partitioned: first[1] === 'p',
    columns,
    primaryKey: key.length === 0 ? null : key.map(([, column]) => column),
    otherUnique: first[16] === 't',
  };
}
