/**
 * The shape of a table or type as JSON: what a replica needs to have the same. Names are qualified because the functions run
 * with an empty search path, values print the same everywhere because the settings that matter are pinned.
 * Left out on purpose, as they do not change rows: storage, tablespace, access method, statistics, comments, rights,
 * policies, triggers, rules.
 */
export const DDL_SETTINGS = `SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO, MDY' SET intervalstyle = 'postgres'
  SET timezone = 'UTC' SET extra_float_digits = 1 SET bytea_output = 'hex'`;

const SEQUENCE = (
  s: string,
): string => `pg_catalog.jsonb_build_object('schema', sn.nspname::text, 'name', ${s}.relname::text,
    'type', pg_catalog.format_type(q.seqtypid, NULL), 'start', q.seqstart::text, 'increment', q.seqincrement::text,
    'min', q.seqmin::text, 'max', q.seqmax::text, 'cache', q.seqcache::text, 'cycle', q.seqcycle)`;

const COLLATION = (collation: string, type: string): string =>
  `CASE WHEN ${collation} <> 0 AND ${collation} <> ${type} THEN (SELECT pg_catalog.quote_ident(cn.nspname) || '.' || pg_catalog.quote_ident(co.collname)
     FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace WHERE co.oid = ${collation}) END`;

/** One row, one column; no row when there is no such table. `oid`: an expression. */
export const ddlTableQuery = (oid: string): string => `
SELECT pg_catalog.jsonb_build_object('oid', c.oid::bigint, 'schema', n.nspname::text, 'name', c.relname::text,
  'kind', c.relkind::text, 'owner', pg_catalog.pg_get_userbyid(c.relowner)::text,
  'schemaOwner', pg_catalog.pg_get_userbyid(n.nspowner)::text,
  'parent', CASE WHEN c.relispartition THEN (
     SELECT pg_catalog.jsonb_build_object('oid', p.oid::bigint, 'schema', pn.nspname::text, 'name', p.relname::text)
     FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class p ON p.oid = i.inhparent JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
     WHERE i.inhrelid = c.oid) END,
  'bound', CASE WHEN c.relispartition THEN pg_catalog.pg_get_expr(c.relpartbound, c.oid) END,
  'partkey', CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END,
  'inherits', NOT c.relispartition AND EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid),
  'identity', c.relreplident::text,
  'identityIndex', (SELECT ic.relname::text FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class ic ON ic.oid = x.indexrelid
     WHERE x.indrelid = c.oid AND x.indisreplident),
  'columns', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('n', a.attnum, 'name', a.attname::text,
       'type', pg_catalog.format_type(a.atttypid, a.atttypmod), 'typeOid', a.atttypid::bigint,
       'collation', ${COLLATION('a.attcollation', 't.typcollation')},
       'notNull', a.attnotnull, 'generated', a.attgenerated::text, 'identity', a.attidentity::text,
       'default', CASE WHEN a.attgenerated = '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END,
       'expression', CASE WHEN a.attgenerated <> '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END,
       'sequence', CASE WHEN a.attidentity <> '' THEN (SELECT ${SEQUENCE('s')} FROM pg_catalog.pg_depend p
          JOIN pg_catalog.pg_class s ON s.oid = p.objid AND s.relkind = 'S' JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
          JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
          WHERE p.classid = 'pg_catalog.pg_class'::regclass AND p.refclassid = 'pg_catalog.pg_class'::regclass
            AND p.refobjid = c.oid AND p.refobjsubid = a.attnum AND p.deptype = 'i') END)
       ORDER BY a.attnum), '[]')
     FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
     LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  'constraints', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('oid', k.oid::bigint, 'name', k.conname::text,
       'type', k.contype::text, 'def', pg_catalog.pg_get_constraintdef(k.oid), 'columns', k.conkey) ORDER BY k.oid), '[]')
     FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u', 'c', 'f', 'x') AND k.conparentid = 0
       AND (k.conislocal OR k.coninhcount = 0)),
  'indexes', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('oid', ic.oid::bigint, 'name', ic.relname::text,
       'def', CASE WHEN c.relkind = 'p' THEN pg_catalog.replace(pg_catalog.pg_get_indexdef(ic.oid), ' ON ONLY ', ' ON ')
              ELSE pg_catalog.pg_get_indexdef(ic.oid) END) ORDER BY ic.oid), '[]')
     FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class ic ON ic.oid = x.indexrelid
     WHERE x.indrelid = c.oid AND x.indisvalid AND NOT ic.relispartition
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = ic.oid AND k.contype IN ('p', 'u', 'x'))),
  'sequences', (SELECT coalesce(pg_catalog.jsonb_agg(u.one ORDER BY u.one ->> 'name'), '[]') FROM (
     SELECT DISTINCT ON (s.oid) ${SEQUENCE('s')} || pg_catalog.jsonb_build_object('column', o.refobjsubid) AS one
     FROM pg_catalog.pg_attrdef ad JOIN pg_catalog.pg_depend p ON p.classid = 'pg_catalog.pg_attrdef'::regclass AND p.objid = ad.oid
       AND p.refclassid = 'pg_catalog.pg_class'::regclass
     JOIN pg_catalog.pg_class s ON s.oid = p.refobjid AND s.relkind = 'S' JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
     JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
     LEFT JOIN pg_catalog.pg_depend o ON o.classid = 'pg_catalog.pg_class'::regclass AND o.objid = s.oid AND o.refobjid = c.oid AND o.deptype = 'a'
     WHERE ad.adrelid = c.oid) u))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ${oid} AND c.relkind IN ('r', 'p')`;

export const DDL_TABLE_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.ddl_table(p_oid oid) RETURNS jsonb
LANGUAGE sql STABLE ${DDL_SETTINGS}
AS $$
${ddlTableQuery('p_oid')}
$$`;

/** Enums, domains and composite types; no row for others. */
export const ddlTypeQuery = (oid: string): string => `
SELECT pg_catalog.jsonb_build_object('oid', t.oid::bigint, 'schema', n.nspname::text, 'name', t.typname::text, 'kind', t.typtype::text,
  'owner', pg_catalog.pg_get_userbyid(t.typowner)::text, 'schemaOwner', pg_catalog.pg_get_userbyid(n.nspowner)::text)
  || CASE t.typtype
  WHEN 'e' THEN pg_catalog.jsonb_build_object('labels', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
      'oid', e.oid::bigint, 'label', e.enumlabel::text) ORDER BY e.enumsortorder), '[]') FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid))
  WHEN 'd' THEN pg_catalog.jsonb_build_object('base', pg_catalog.format_type(t.typbasetype, t.typtypmod), 'notNull', t.typnotnull,
      'baseOid', t.typbasetype::bigint, 'default', t.typdefault,
      'collation', (SELECT ${COLLATION('t.typcollation', 'b.typcollation')} FROM pg_catalog.pg_type b WHERE b.oid = t.typbasetype),
      'constraints', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('oid', k.oid::bigint, 'name', k.conname::text,
         'def', pg_catalog.pg_get_constraintdef(k.oid)) ORDER BY k.oid), '[]')
         FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'))
  ELSE pg_catalog.jsonb_build_object('attributes', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('n', a.attnum,
      'name', a.attname::text, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
      'collation', ${COLLATION('a.attcollation', 'y.typcollation')}) ORDER BY a.attnum), '[]')
      FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
      WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)) END
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
WHERE t.oid = ${oid} AND (t.typtype IN ('e', 'd') OR t.typtype = 'c' AND c.relkind = 'c')
  AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'drover')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')`;

export const DDL_TYPE_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.ddl_type(p_oid oid) RETURNS jsonb
LANGUAGE sql STABLE ${DDL_SETTINGS}
AS $$
${ddlTypeQuery('p_oid')}
$$`;

/** Values that rows from before a column was added have in it, by column number: what ADD COLUMN ... DEFAULT computed once. */
export const DDL_MISSING_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.ddl_missing(p_oid oid) RETURNS jsonb
LANGUAGE sql STABLE ${DDL_SETTINGS}
AS $$
SELECT coalesce(pg_catalog.jsonb_object_agg(r.attnum::text, (a.attmissingval::text::text[])[1]), '{}')
FROM pg_catalog.pg_attribute r
-- A partitioned table has no rows of its own: its first leaf's column of the same name tells.
JOIN pg_catalog.pg_attribute a ON a.attname = r.attname AND a.attrelid = coalesce(
  (SELECT t.relid FROM pg_catalog.pg_partition_tree(p_oid) t WHERE t.isleaf AND t.relid <> p_oid ORDER BY t.relid LIMIT 1), p_oid)
WHERE r.attrelid = p_oid AND r.attnum > 0 AND NOT r.attisdropped AND NOT a.attisdropped AND a.atthasmissing
$$`;

/** As classifyTable() of tagging.ts, which a test holds it to. Partitions are what their root is. */
export const DDL_CLASS_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.ddl_class(p_oid oid) RETURNS jsonb
LANGUAGE plpgsql STABLE ${DDL_SETTINGS}
AS $$
DECLARE
  tagging jsonb := (SELECT c.tagging FROM drover.capture c);
  root oid := coalesce(pg_catalog.pg_partition_root(p_oid), p_oid);
  sch text; rel text; columns text[]; wanted text; whole text; prefix text;
BEGIN
  SELECT n.nspname, c.relname, ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
  INTO sch, rel, columns FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = root;
  IF sch = 'drover' OR sch = 'information_schema' OR sch LIKE 'pg\\_%' OR tagging -> 'exclude' ? (sch || '.' || rel)
     OR tagging -> 'exclude' ? (sch || '.*') THEN
    RETURN '{"kind": "excluded"}';
  ELSIF tagging -> 'reference' ? (sch || '.' || rel) OR tagging -> 'reference' ? (sch || '.*') THEN
    RETURN '{"kind": "reference"}';
  END IF;
  wanted := tagging -> 'overrides' ->> (sch || '.' || rel);
  IF wanted IS NULL AND tagging ->> 'mode' = 'column' THEN
    wanted := tagging ->> 'column';
  END IF;
  IF wanted IS NOT NULL THEN
    IF wanted = ANY (columns) THEN
      RETURN pg_catalog.jsonb_build_object('kind', 'column', 'column', wanted);
    END IF;
    RETURN pg_catalog.jsonb_build_object('kind', 'unclassified', 'why', pg_catalog.format('%s.%s has no column "%s"', sch, rel, wanted));
  END IF;
  whole := CASE tagging ->> 'mode' WHEN 'schema' THEN sch ELSE pg_catalog.current_database()::text END;
  prefix := CASE tagging ->> 'mode' WHEN 'schema' THEN tagging ->> 'schemaPrefix' ELSE tagging ->> 'databasePrefix' END;
  IF pg_catalog.left(whole, pg_catalog.length(prefix)) <> prefix THEN
    RETURN pg_catalog.jsonb_build_object('kind', 'unclassified', 'why',
      pg_catalog.format('%s "%s" does not start with "%s"', tagging ->> 'mode', whole, prefix));
  END IF;
  whole := pg_catalog.substr(whole, pg_catalog.length(prefix) + 1);
  IF whole = '' OR pg_catalog.left(whole, 1) = '_' AND whole NOT IN ('_shared', '_unassigned') THEN
    RETURN pg_catalog.jsonb_build_object('kind', 'unclassified', 'why', pg_catalog.format('"%s" leaves no usable tenant name', prefix || whole));
  END IF;
  RETURN pg_catalog.jsonb_build_object('kind', 'schema', 'tenant', whole);
END $$`;
