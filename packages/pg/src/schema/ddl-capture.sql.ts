/**
 * What `drover.ddl` messages say, and how they come to be: by a comparison of each table and type with what was told of it last. The event
 * triggers (ddl-triggers.sql.ts) ask for it after each command, `drover setup` for all of them.
 */
import { DDL_SETTINGS } from './ddl-shape.sql.ts';

/** Of pg_class k in pg_namespace n: a table of the application, of no extension. */
const APPLICATION_TABLE = `k.relkind IN ('r', 'p') AND k.relpersistence = 'p' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'drover')
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = k.oid AND d.deptype = 'e')`;

/** What is told of a type; its fields are expressions. */
interface TypeEntry {
  readonly oid: string;
  readonly before: string;
  readonly after: string;
}

/** What is told of a table. */
interface TableEntry extends TypeEntry {
  readonly class: string;
  readonly missing?: string;
  readonly unknown?: string;
}

const typeEntry = (t: TypeEntry): string =>
  `pg_catalog.jsonb_build_object('oid', ${t.oid}, 'before', ${t.before}, 'after', ${t.after})`;

const tableEntry = (t: TableEntry): string =>
  `pg_catalog.jsonb_build_object('oid', ${t.oid}, 'class', ${t.class}, 'before', ${t.before}, 'after', ${t.after},
        'missing', ${t.missing ?? "'{}'::jsonb"}, 'unknown', ${t.unknown ?? "'[]'::jsonb"})`;

const emit = (fields: string): string =>
  `PERFORM pg_catalog.pg_logical_emit_message(true, 'drover.ddl', pg_catalog.jsonb_build_object('v', 1, ${fields})::text);`;

/** Compares tables and types with what was told last, and tells what is new. */
export const TELL_FUNCTION = `
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
    WHERE ${APPLICATION_TABLE}
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
    tables := tables || ${tableEntry({ oid: 't.oid::bigint', class: 'class', before: 'was.shape', after: 'now_is', missing: 'missing', unknown: 'pg_catalog.to_jsonb(unknown)' })};
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
    types := types || ${typeEntry({ oid: 't.oid::bigint', before: 'was.shape', after: 'now_is' })};
    INSERT INTO drover.ddl_shape AS h (oid, kind, shape) VALUES (t.oid::bigint, 'type', now_is)
    ON CONFLICT (oid) DO UPDATE SET shape = excluded.shape;
  END LOOP;
  FOR was IN DELETE FROM drover.ddl_shape h WHERE h.oid = ANY (p_dropped)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_class k WHERE h.kind = 'table' AND k.oid = h.oid::oid)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_type y WHERE h.kind = 'type' AND y.oid = h.oid::oid) RETURNING h.oid, h.kind, h.class, h.shape LOOP
    IF was.kind = 'table' THEN
      tables := tables || ${tableEntry({ oid: 'was.oid', class: 'was.class', before: 'was.shape', after: 'NULL' })};
    ELSE
      gone := gone || ${typeEntry({ oid: 'was.oid', before: 'was.shape', after: 'NULL' })};
    END IF;
  END LOOP;
  types := types || gone;
  DELETE FROM drover.ddl_work w WHERE w.xid = pg_catalog.pg_current_xact_id() AND w.oid = 0;
  IF NOT own AND (tables <> '[]' OR types <> '[]') THEN
    ${emit(`'tag', p_tag, 'command', pg_catalog.left(p_command, 4000), 'tables', tables, 'types', types`)}
  END IF;
END $$`;

const BEFORE = 'CASE WHEN p_anew THEN NULL ELSE n.was END';

/**
 * Tells what every captured table and type is, as a starting point. p_anew: also of those that were told before, for a slot that begins
 * anew. Without it: only what differs, for changes that were made while nobody listened.
 */
export const SYNC_FUNCTION = `
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
      WHERE ${APPLICATION_TABLE}
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
    SELECT pg_catalog.jsonb_agg(${tableEntry({ oid: 'n.oid::bigint', class: 'n.kept', before: BEFORE, after: 'n.shape', missing: `CASE n.kind WHEN 'table' THEN drover.ddl_missing(n.oid) ELSE '{}' END` })} ORDER BY n.nr)
        FILTER (WHERE n.kind = 'table') AS tables,
      pg_catalog.jsonb_agg(${typeEntry({ oid: 'n.oid::bigint', before: BEFORE, after: 'n.shape' })} ORDER BY n.nr)
        FILTER (WHERE n.kind = 'type') AS types,
      count(*) AS n, n.was IS NULL OR p_anew AS baseline
    FROM news n GROUP BY n.was IS NULL OR p_anew, n.nr / 200 ORDER BY pg_catalog.min(n.nr)
  LOOP
    total := total + part.n;
    ${emit(`'tag', 'drover setup', 'command', '', 'baseline', part.baseline,
      'tables', coalesce(part.tables, '[]'), 'types', coalesce(part.types, '[]')`)}
  END LOOP;
  RETURN total;
END $$`;
