/**
 * What capturing schema changes keeps (docs/adr/0008-ddl.md). At a source: what is captured and the last told shape of each table
 * and type. At a replica: which steps were taken, and how the source's tables and columns map to its own.
 */

/** What the event triggers go by: `[tagging]` and `[capture]` as of the last setup. */
export const CAPTURE_TABLE = `
CREATE TABLE IF NOT EXISTS drover.capture (
  only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  ddl         boolean NOT NULL,
  tagging     jsonb NOT NULL,
  fingerprint text NOT NULL,
  updated_at  timestamptz NOT NULL DEFAULT now()
)`;

/** `parts`: OIDs of the constraints and indexes in the shape, so that a drop of one finds its table. */
export const DDL_SHAPE_TABLE = `
CREATE TABLE IF NOT EXISTS drover.ddl_shape (
  oid   bigint PRIMARY KEY,
  kind  text NOT NULL CHECK (kind IN ('table', 'type')),
  class jsonb NOT NULL DEFAULT '{}',
  shape jsonb NOT NULL,
  parts bigint[] NOT NULL DEFAULT '{}'
)`;

/** Of the transaction at hand: tables whose rows were rewritten and why; oid 0: Drover's own statements are running. */
export const DDL_WORK_TABLE = `
CREATE TABLE IF NOT EXISTS drover.ddl_work (
  xid    xid8 NOT NULL,
  oid    bigint NOT NULL,
  reason integer NOT NULL
)`;

/** One schema change of a source, taken here: of the transaction that committed at `lsn`, told at `at`. `contract`: statements that wait until every
 * pipeline has passed it; `touched`: whose rows are in its tables. */
export const DDL_STEP_TABLE = `
CREATE TABLE IF NOT EXISTS drover.ddl_step (
  source      text NOT NULL,
  generation  integer NOT NULL,
  lsn         pg_lsn NOT NULL,
  at          pg_lsn NOT NULL,
  tag         text NOT NULL,
  object      text NOT NULL,
  command     text NOT NULL,
  status      text NOT NULL CHECK (status IN ('done', 'pending', 'refused')),
  code        text,
  reason      text,
  touched     jsonb NOT NULL DEFAULT '[]',
  contract    jsonb NOT NULL DEFAULT '[]',
  created_at  timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz,
  PRIMARY KEY (source, generation, lsn, at)
)`;

/** A source's table, and its columns by number, here. `shape`: as the source last told it; null: it was dropped. */
export const DDL_MAP_TABLE = `
CREATE TABLE IF NOT EXISTS drover.ddl_map (
  source     text NOT NULL,
  oid        bigint NOT NULL,
  kind       text NOT NULL CHECK (kind IN ('table', 'type')),
  target_oid bigint,
  pairs      jsonb NOT NULL DEFAULT '{}',
  shape      jsonb,
  PRIMARY KEY (source, oid)
)`;

/** What a table was before the change told at `at` in the transaction that committed at `lsn`: rows written earlier are read by it. */
export const DDL_VERSION_TABLE = `
CREATE TABLE IF NOT EXISTS drover.ddl_version (
  source     text NOT NULL,
  oid        bigint NOT NULL,
  generation integer NOT NULL,
  lsn        pg_lsn NOT NULL,
  at         pg_lsn NOT NULL,
  shape      jsonb,
  missing    jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (source, oid, generation, lsn, at)
)`;

/**
 * Counts the schema changes that apply has made here. Who writes rows plans by what it read of the catalog, and asks at the end of its
 * transaction whether that was still so: names may have changed places in between.
 */
export const DDL_EPOCH_TABLE = `
CREATE TABLE IF NOT EXISTS drover.ddl_epoch (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  n        bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50)`;

export const DDL_CHECK_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.ddl_check(p_n bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF (SELECT e.n FROM drover.ddl_epoch e) IS DISTINCT FROM p_n THEN
    RAISE EXCEPTION 'the schema was changed while rows were written' USING ERRCODE = 'DR005';
  END IF;
END $$`;

export const DDL_TABLES: readonly string[] = [
  CAPTURE_TABLE,
  DDL_SHAPE_TABLE,
  'CREATE INDEX IF NOT EXISTS ddl_shape_parts ON drover.ddl_shape USING gin (parts)',
  "CREATE INDEX IF NOT EXISTS ddl_shape_parent ON drover.ddl_shape (((shape -> 'parent' ->> 'oid')::bigint))",
  DDL_WORK_TABLE,
  DDL_STEP_TABLE,
  "CREATE INDEX IF NOT EXISTS ddl_step_open ON drover.ddl_step (source) WHERE status <> 'done'",
  DDL_MAP_TABLE,
  DDL_VERSION_TABLE,
  DDL_EPOCH_TABLE,
  'INSERT INTO drover.ddl_epoch DEFAULT VALUES ON CONFLICT DO NOTHING',
  DDL_CHECK_FUNCTION,
];

export const DDL_GRANTS: readonly string[] = [
  'GRANT SELECT ON drover.capture TO drover_cdc, drover_apply',
  'GRANT SELECT, INSERT, UPDATE, DELETE ON drover.ddl_step, drover.ddl_map, drover.ddl_version TO drover_apply',
  'GRANT SELECT, UPDATE ON drover.ddl_epoch TO drover_apply',
  'GRANT EXECUTE ON FUNCTION drover.ddl_check(bigint) TO drover_apply',
];
