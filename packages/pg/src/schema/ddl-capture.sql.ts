/**
 * The event triggers. Each schema change leaves one transactional logical message `drover.ddl` behind, at its place among the rows of
 * its own transaction, that says what every table and type it touched was before and is now. A change that is rolled back leaves none.
 *
 * The functions belong to the setup user (event triggers need a superuser), run with an empty search path and no expression of the
 * application's, so that whoever changes a table needs no right of Drover's and gets none. What fails here fails the statement:
 * a change that cannot be told must not happen silently (I8). Sessions under a replication origin, Drover's own among them, tell nothing.
 */
import { DDL_ADOPT_FUNCTION } from './ddl-adopt.sql.ts';
import {
  DDL_CLASS_FUNCTION,
  DDL_MISSING_FUNCTION,
  DDL_SETTINGS,
  DDL_TABLE_FUNCTION,
  DDL_TYPE_FUNCTION,
} from './ddl-shape.sql.ts';

/** Compares tables and types with what was told last, and tells what is new. `p_new`: tables made by this very command. */
const TELL_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.ddl_tell(p_tag text, p_tables oid[], p_types oid[], p_dropped bigint[], p_command text, p_using boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE ${DDL_SETTINGS}
AS $$
DECLARE
  own boolean := pg_catalog.pg_replication_origin_session_is_setup();
  wanted boolean := coalesce((SELECT c.ddl FROM drover.capture c), false);
  tables jsonb := '[]'; types jsonb := '[]'; gone jsonb := '[]';
  t record; was record; class jsonb; now_is jsonb; missing jsonb; unknown text[]; col jsonb; old jsonb; filled boolean; rewritten integer; captured boolean; published boolean;
BEGIN
  IF NOT wanted OR EXISTS (SELECT FROM drover.ddl_work w WHERE w.oid = 0 AND w.xid = pg_catalog.pg_current_xact_id()) THEN
    RETURN;
  END IF;
  INSERT INTO drover.ddl_work (xid, oid, reason) VALUES (pg_catalog.pg_current_xact_id(), 0, 0);
  FOR t IN
    WITH RECURSIVE touched (oid) AS (
      SELECT pg_catalog.unnest(p_tables)
      UNION SELECT i.inhrelid FROM touched h JOIN pg_catalog.pg_class p ON p.oid = h.oid AND p.relkind = 'p'
        JOIN pg_catalog.pg_inherits i ON i.inhparent = h.oid),
    every (oid) AS (SELECT h.oid FROM touched h
      UNION SELECT s.oid::oid FROM touched h JOIN drover.ddl_shape s ON (s.shape -> 'parent' ->> 'oid')::bigint = h.oid::bigint)
    SELECT e.oid, k.relname, n.nspname, k.relispartition FROM every e JOIN pg_catalog.pg_class k ON k.oid = e.oid JOIN pg_catalog.pg_namespace n ON n.oid = k.relnamespace
    WHERE k.relkind IN ('r', 'p') AND k.relpersistence = 'p' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'drover')
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = e.oid AND d.deptype = 'e')
    ORDER BY k.relispartition, e.oid
  LOOP
    SELECT h.class, h.shape INTO was FROM drover.ddl_shape h WHERE h.oid = t.oid::bigint;
    class := drover.ddl_class(t.oid);
    captured := class ->> 'kind' IN ('column', 'schema', 'reference');
    IF NOT captured AND was.shape IS NULL THEN
      IF class ->> 'kind' = 'unclassified' AND p_tag IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO') THEN
        RAISE WARNING 'drover does not capture %.%: %', t.nspname, t.relname, class ->> 'why'
          USING HINT = 'Name it under [tagging] reference, exclude or overrides and run drover setup.';
      END IF;
      CONTINUE;
    END IF;
    published := EXISTS (SELECT FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
      WHERE p.pubname = 'drover' AND r.prrelid = t.oid);
    class := drover.ddl_adopt(t.oid, class);
    now_is := drover.ddl_table(t.oid);
    WITH done AS (DELETE FROM drover.ddl_work w WHERE w.xid = pg_catalog.pg_current_xact_id() AND w.oid = t.oid::bigint RETURNING w.reason)
    SELECT coalesce(pg_catalog.bit_or(d.reason), 0) INTO rewritten FROM done d;
    CONTINUE WHEN now_is = was.shape AND rewritten & 4 = 0;
    unknown := '{}';
    missing := drover.ddl_missing(t.oid);
    EXECUTE pg_catalog.format('SELECT EXISTS (SELECT FROM %I.%I)', t.nspname, t.relname) INTO filled;
    IF NOT captured THEN
      unknown := unknown || 'class'::text;
    ELSIF filled AND was.shape IS NULL AND NOT published AND NOT t.relispartition THEN
      unknown := unknown || 'rows'::text;
    ELSIF filled AND was.shape IS NOT NULL THEN
      FOR col IN SELECT c.value FROM pg_catalog.jsonb_array_elements(now_is -> 'columns') c LOOP
        SELECT c.value INTO old FROM pg_catalog.jsonb_array_elements(was.shape -> 'columns') c WHERE c.value -> 'n' = col -> 'n';
        IF old IS NULL THEN
          IF (col ->> 'default' IS NOT NULL OR col ->> 'identity' <> '') AND NOT missing ? (col ->> 'n') THEN
            unknown := unknown || 'default'::text;
          END IF;
        ELSIF old -> 'typeOid' <> col -> 'typeOid' AND EXISTS (SELECT FROM pg_catalog.pg_cast x JOIN pg_catalog.pg_proc f ON f.oid = x.castfunc
            WHERE x.castsource = (old ->> 'typeOid')::oid AND x.casttarget = (col ->> 'typeOid')::oid AND f.provolatile <> 'i') THEN
          unknown := unknown || 'cast'::text;
        END IF;
      END LOOP;
      IF rewritten & 4 <> 0 AND (p_using OR NOT EXISTS (
          SELECT FROM pg_catalog.jsonb_array_elements(now_is -> 'columns') n JOIN pg_catalog.jsonb_array_elements(was.shape -> 'columns') o
            ON o.value -> 'n' = n.value -> 'n' WHERE o.value ->> 'type' <> n.value ->> 'type' OR o.value -> 'expression' <> n.value -> 'expression'
              OR o.value -> 'collation' <> n.value -> 'collation')) THEN
        unknown := unknown || 'using'::text;
      END IF;
    END IF;
    tables := tables || pg_catalog.jsonb_build_object('oid', t.oid::bigint, 'class', class, 'before', was.shape, 'after', now_is,
      'missing', missing, 'unknown', pg_catalog.to_jsonb(unknown));
    IF captured THEN
      INSERT INTO drover.ddl_shape AS h (oid, kind, class, shape, parts) VALUES (t.oid::bigint, 'table', class, now_is, ARRAY(
        SELECT (p.value ->> 'oid')::bigint FROM pg_catalog.jsonb_array_elements((now_is -> 'constraints') || (now_is -> 'indexes')) p))
      ON CONFLICT (oid) DO UPDATE SET class = excluded.class, shape = excluded.shape, parts = excluded.parts;
    ELSE
      DELETE FROM drover.ddl_shape h WHERE h.oid = t.oid::bigint;
    END IF;
  END LOOP;
  FOR t IN SELECT DISTINCT u.oid FROM pg_catalog.unnest(p_types) AS u (oid) ORDER BY 1 LOOP
    now_is := drover.ddl_type(t.oid);
    SELECT h.shape INTO was FROM drover.ddl_shape h WHERE h.oid = t.oid::bigint;
    CONTINUE WHEN now_is IS NULL OR now_is = was.shape;
    types := types || pg_catalog.jsonb_build_object('oid', t.oid::bigint, 'before', was.shape, 'after', now_is);
    INSERT INTO drover.ddl_shape AS h (oid, kind, shape) VALUES (t.oid::bigint, 'type', now_is)
    ON CONFLICT (oid) DO UPDATE SET shape = excluded.shape;
  END LOOP;
  FOR was IN DELETE FROM drover.ddl_shape h WHERE h.oid = ANY (p_dropped)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_class k WHERE h.kind = 'table' AND k.oid = h.oid::oid)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_type y WHERE h.kind = 'type' AND y.oid = h.oid::oid) RETURNING h.oid, h.kind, h.class, h.shape LOOP
    IF was.kind = 'table' THEN
      tables := tables || pg_catalog.jsonb_build_object('oid', was.oid, 'class', was.class, 'before', was.shape, 'after', NULL,
        'missing', '{}'::jsonb, 'unknown', '[]'::jsonb);
    ELSE
      gone := gone || pg_catalog.jsonb_build_object('oid', was.oid, 'before', was.shape, 'after', NULL);
    END IF;
  END LOOP;
  types := types || gone;
  DELETE FROM drover.ddl_work w WHERE w.xid = pg_catalog.pg_current_xact_id() AND w.oid = 0;
  IF NOT own AND (tables <> '[]' OR types <> '[]') THEN
    PERFORM pg_catalog.pg_logical_emit_message(true, 'drover.ddl', pg_catalog.jsonb_build_object('v', 1, 'tag', p_tag,
      'command', pg_catalog.left(p_command, 4000), 'tables', tables, 'types', types)::text);
  END IF;
END $$`;

/**
 * The statement that ran: PostgreSQL tells the client's query, which for a function or DO block is the caller; the statement itself then
 * stands in the call stack. Within a SQL function it stands nowhere: then it may be anything, also a USING.
 */
const STATEMENT = `
  GET DIAGNOSTICS stack = PG_CONTEXT;
  stack := pg_catalog.substr(stack, pg_catalog.strpos(stack || E'\\n', E'\\n') + 1);
  command := coalesce(pg_catalog.substring(stack, 'SQL statement "(.*?)"\\n(?:PL/pgSQL|SQL)'), pg_catalog.current_query(), '');
  uses := CASE WHEN stack = '' THEN pg_catalog.current_query() ELSE stack END ~* '\\musing\\M' OR stack ~ 'SQL function "';`;

const COMMAND_END_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.ddl_command_end() RETURNS event_trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER ${DDL_SETTINGS}
AS $$
DECLARE
  stack text; command text; uses boolean; tables oid[]; types oid[];
BEGIN
  ${STATEMENT}
  SELECT pg_catalog.array_agg(DISTINCT o.tab) FILTER (WHERE o.tab IS NOT NULL), pg_catalog.array_agg(DISTINCT o.typ) FILTER (WHERE o.typ IS NOT NULL)
  INTO tables, types FROM (
    SELECT CASE WHEN k.relkind IN ('r', 'p') THEN k.oid WHEN k.relkind IN ('i', 'I') THEN x.indrelid WHEN r.conrelid <> 0 THEN r.conrelid END AS tab,
      CASE WHEN k.relkind = 'c' THEN k.reltype WHEN c.classid = 'pg_catalog.pg_type'::regclass THEN c.objid WHEN r.contypid <> 0 THEN r.contypid END AS typ
    FROM pg_catalog.pg_event_trigger_ddl_commands() c
    LEFT JOIN pg_catalog.pg_class k ON c.classid = 'pg_catalog.pg_class'::regclass AND k.oid = c.objid
    LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = k.oid
    LEFT JOIN pg_catalog.pg_constraint r ON c.classid = 'pg_catalog.pg_constraint'::regclass AND r.oid = c.objid
    WHERE NOT c.in_extension AND coalesce(k.relpersistence, 'p') <> 't'
    UNION ALL
    SELECT k.oid, NULL FROM pg_catalog.pg_event_trigger_ddl_commands() c JOIN pg_catalog.pg_class k ON k.relnamespace = c.objid AND k.relkind IN ('r', 'p')
    WHERE c.classid = 'pg_catalog.pg_namespace'::regclass AND tg_tag = 'ALTER SCHEMA') o;
  IF tables IS NOT NULL OR types IS NOT NULL THEN
    PERFORM drover.ddl_tell(tg_tag, coalesce(tables, '{}'), coalesce(types, '{}'), '{}', command, uses);
  END IF;
END $$`;

/** Drops, and what goes with them in other tables: foreign keys, columns of a dropped type, defaults. */
const SQL_DROP_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.ddl_sql_drop() RETURNS event_trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER ${DDL_SETTINGS}
AS $$
DECLARE
  stack text; command text; uses boolean; tables oid[]; dropped bigint[];
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger_dropped_objects() o WHERE NOT o.is_temporary) THEN
    RETURN;
  END IF;
  ${STATEMENT}
  SELECT pg_catalog.array_agg(DISTINCT o.objid::bigint) FILTER (WHERE o.object_type IN ('table', 'type', 'domain', 'composite type'))
  INTO dropped FROM pg_catalog.pg_event_trigger_dropped_objects() o WHERE NOT o.is_temporary;
  SELECT pg_catalog.array_agg(DISTINCT a.oid) INTO tables FROM (
    SELECT o.objid AS oid FROM pg_catalog.pg_event_trigger_dropped_objects() o WHERE o.object_type = 'table column'
    UNION ALL SELECT s.oid::oid FROM pg_catalog.pg_event_trigger_dropped_objects() o JOIN drover.ddl_shape s ON s.parts @> ARRAY[o.objid::bigint]
      WHERE o.object_type IN ('index', 'table constraint')
    UNION ALL SELECT k.oid FROM pg_catalog.pg_event_trigger_dropped_objects() o
      JOIN pg_catalog.pg_namespace n ON n.nspname = o.address_names[1] JOIN pg_catalog.pg_class k ON k.relnamespace = n.oid AND k.relname = o.address_names[2]
      WHERE o.object_type = 'default value' AND pg_catalog.array_length(o.address_names, 1) = 3) a
  JOIN pg_catalog.pg_class k ON k.oid = a.oid;
  PERFORM drover.ddl_tell(tg_tag, coalesce(tables, '{}'), '{}', coalesce(dropped, '{}'), command, uses);
END $$`;

/** Reasons (event_trigger.h): 1 persistence, 2 default value, 4 column values, 8 access method. */
const REWRITE_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.ddl_table_rewrite() RETURNS event_trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER ${DDL_SETTINGS}
AS $$
DECLARE
  rel oid := pg_catalog.pg_event_trigger_table_rewrite_oid();
BEGIN
  IF (SELECT k.relpersistence FROM pg_catalog.pg_class k WHERE k.oid = rel) = 'p' THEN
    INSERT INTO drover.ddl_work (xid, oid, reason) VALUES (pg_catalog.pg_current_xact_id(), coalesce(pg_catalog.pg_partition_root(rel), rel)::bigint,
      pg_catalog.pg_event_trigger_table_rewrite_reason());
  END IF;
END $$`;

/**
 * Tells what every captured table and type is, as a starting point. p_anew: also of those that were told before, for a slot that begins
 * anew. Without it: only what differs, for changes that were made while nobody listened.
 */
const SYNC_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.ddl_sync(p_anew boolean) RETURNS integer
LANGUAGE plpgsql VOLATILE ${DDL_SETTINGS}
AS $$
DECLARE
  entries jsonb; total integer := 0; part record;
BEGIN
  FOR part IN
    WITH now_is AS (
      SELECT 'table' AS kind, k.oid, drover.ddl_class(k.oid) AS class, drover.ddl_table(k.oid) AS shape, k.relispartition AS late
      FROM pg_catalog.pg_class k JOIN pg_catalog.pg_namespace n ON n.oid = k.relnamespace
      WHERE k.relkind IN ('r', 'p') AND k.relpersistence = 'p' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'drover')
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = k.oid AND d.deptype = 'e')
      UNION ALL SELECT 'type', y.oid, '{"kind": "type"}', drover.ddl_type(y.oid), false FROM pg_catalog.pg_type y
      WHERE y.typtype IN ('e', 'd', 'c') AND y.oid >= 16384),
    news AS (SELECT c.*, coalesce(h.class, '{}') || c.class AS kept, h.shape AS was,
        pg_catalog.row_number() OVER (ORDER BY c.kind DESC, c.late, c.oid) AS nr FROM now_is c
      LEFT JOIN drover.ddl_shape h ON h.oid = c.oid::bigint
      WHERE c.class ->> 'kind' IN ('column', 'schema', 'reference', 'type') AND c.shape IS NOT NULL AND (p_anew OR h.shape IS DISTINCT FROM c.shape)),
    kept AS (
      INSERT INTO drover.ddl_shape AS h (oid, kind, class, shape, parts) SELECT n.oid::bigint, n.kind, n.kept, n.shape, ARRAY(
        SELECT (p.value ->> 'oid')::bigint FROM pg_catalog.jsonb_array_elements(coalesce((n.shape -> 'constraints') || (n.shape -> 'indexes'), '[]')) p
          WHERE n.kind = 'table') FROM news n
      ON CONFLICT (oid) DO UPDATE SET class = excluded.class, shape = excluded.shape, parts = excluded.parts)
    SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('oid', n.oid::bigint, 'class', n.kept, 'after', n.shape,
        'before', CASE WHEN p_anew THEN NULL ELSE n.was END, 'missing', CASE n.kind WHEN 'table' THEN drover.ddl_missing(n.oid) ELSE '{}' END, 'unknown', '[]'::jsonb) ORDER BY n.nr)
        FILTER (WHERE n.kind = 'table') AS tables,
      pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('oid', n.oid::bigint, 'after', n.shape, 'before', CASE WHEN p_anew THEN NULL ELSE n.was END) ORDER BY n.nr)
        FILTER (WHERE n.kind = 'type') AS types,
      count(*) AS n, n.was IS NULL OR p_anew AS baseline
    FROM news n GROUP BY n.was IS NULL OR p_anew, n.nr / 200 ORDER BY pg_catalog.min(n.nr)
  LOOP
    total := total + part.n;
    PERFORM pg_catalog.pg_logical_emit_message(true, 'drover.ddl', pg_catalog.jsonb_build_object('v', 1, 'tag', 'drover setup', 'command', '',
      'baseline', part.baseline, 'tables', coalesce(part.tables, '[]'), 'types', coalesce(part.types, '[]'))::text);
  END LOOP;
  RETURN total;
END $$`;

/** In the order in which they are made. */
export const DDL_FUNCTIONS: readonly string[] = [
  DDL_TABLE_FUNCTION,
  DDL_TYPE_FUNCTION,
  DDL_MISSING_FUNCTION,
  DDL_CLASS_FUNCTION,
  DDL_ADOPT_FUNCTION,
  TELL_FUNCTION,
  COMMAND_END_FUNCTION,
  SQL_DROP_FUNCTION,
  REWRITE_FUNCTION,
  SYNC_FUNCTION,
];

export const DDL_FUNCTION_NAMES: readonly string[] = DDL_FUNCTIONS.map(
  (sql) => /FUNCTION (drover\.\w+\([^)]*\))/.exec(sql)?.[1]?.replace(/p_\w+ /g, '') ?? '',
);

interface EventTrigger {
  readonly name: string;
  readonly event: string;
  readonly fn: string;
  readonly tags: readonly string[];
}

/** Commands that change no table's shape, GRANT and CREATE POLICY among them, are not looked at. */
export const DDL_TRIGGERS: readonly EventTrigger[] = [
  {
    name: 'drover_ddl',
    event: 'ddl_command_end',
    fn: 'drover.ddl_command_end',
    tags: [
      ...[
        'CREATE TABLE',
        'CREATE TABLE AS',
        'SELECT INTO',
        'ALTER TABLE',
        'CREATE INDEX',
        'ALTER INDEX',
        'CREATE TYPE',
        'ALTER TYPE',
      ],
      ...['CREATE DOMAIN', 'ALTER DOMAIN', 'CREATE SCHEMA', 'ALTER SCHEMA'],
    ],
  },
  { name: 'drover_ddl_drop', event: 'sql_drop', fn: 'drover.ddl_sql_drop', tags: [] },
  { name: 'drover_ddl_rewrite', event: 'table_rewrite', fn: 'drover.ddl_table_rewrite', tags: [] },
];
