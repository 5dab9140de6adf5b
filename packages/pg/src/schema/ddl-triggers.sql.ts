/**
 * The event triggers. Each schema change leaves one transactional logical message `drover.ddl` behind, at its place among the rows of
 * its own transaction, that says what every table and type it touched was before and is now. A change that is rolled back leaves none.
 *
 * The functions belong to the setup user (event triggers need a superuser), run with an empty search path and no expression of the
 * application's, so that whoever changes a table needs no right of Drover's and gets none. What fails here fails the statement:
 * a change that cannot be told must not happen silently (I8). Sessions under a replication origin, Drover's own among them, tell nothing.
 */
import { DDL_ADOPT_FUNCTION } from './ddl-adopt.sql.ts';
import { SYNC_FUNCTION, TELL_FUNCTION } from './ddl-capture.sql.ts';
import {
  DDL_CLASS_FUNCTION,
  DDL_MISSING_FUNCTION,
  DDL_SETTINGS,
  DDL_TABLE_FUNCTION,
  DDL_TYPE_FUNCTION,
} from './ddl-shape.sql.ts';

const eventTrigger = (name: string, declared: string, body: string): string => `
CREATE OR REPLACE FUNCTION drover.${name}() RETURNS event_trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER ${DDL_SETTINGS}
AS $$
DECLARE
  ${declared}
BEGIN${body}
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

const COMMAND_END_FUNCTION = eventTrigger(
  'ddl_command_end',
  `stack text; command text; uses boolean; tables oid[]; types oid[];`,
  `
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
  END IF;`,
);

/** Drops, and what goes with them in other tables: foreign keys, columns of a dropped type, defaults. */
const SQL_DROP_FUNCTION = eventTrigger(
  'ddl_sql_drop',
  `stack text; command text; uses boolean; tables oid[]; dropped bigint[];`,
  `
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
  PERFORM drover.ddl_tell(tg_tag, coalesce(tables, '{}'), '{}', coalesce(dropped, '{}'), command, uses);`,
);

/** Reasons (event_trigger.h): 1 persistence, 2 default value, 4 column values, 8 access method. */
const REWRITE_FUNCTION = eventTrigger(
  'ddl_table_rewrite',
  `rel oid := pg_catalog.pg_event_trigger_table_rewrite_oid();`,
  `
  IF (SELECT k.relpersistence FROM pg_catalog.pg_class k WHERE k.oid = rel) = 'p' THEN
    INSERT INTO drover.ddl_work (xid, oid, reason) VALUES (pg_catalog.pg_current_xact_id(), coalesce(pg_catalog.pg_partition_root(rel), rel)::bigint,
      pg_catalog.pg_event_trigger_table_rewrite_reason());
  END IF;`,
);

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
