/**
 * drover.tenant: may this cluster write for the tenant (I4), and up to where has it applied (I2). Read by writers and
 * by the apply worker inside the transaction they act in. Half-filled pages keep the checkpoint's updates HOT.
 */
import type { Lsn } from '@drover/core';
import { LOCK_CLASS } from './writer.sql.ts';

export const TENANT_TABLE = `
CREATE TABLE IF NOT EXISTS drover.tenant (
  tenant        text COLLATE "C" PRIMARY KEY,
  epoch         bigint NOT NULL,
  role          text NOT NULL,
  open          boolean NOT NULL DEFAULT false,
  source        text,
  feed          text,
  system_id     text,
  generation    integer,
  commit_lsn    pg_lsn,
  part          integer,
  stream        text,
  stream_seq    bigint,
  lenient_until pg_lsn,
  skip_lsn      pg_lsn,
  commit_time   timestamptz,
  reason        text,
  updated_at    timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500)`;

/** Whoever applies is checked as well (session_replication_role = replica). */
export const TENANT_FORM_ENABLED =
  'ALTER TABLE drover.tenant ENABLE ALWAYS TRIGGER tenant_form, ENABLE ALWAYS TRIGGER tenant_form_new';

/** True while both triggers fire for everybody. */
export const TENANT_FORM_HOLDS = `(SELECT pg_catalog.count(*) = 2 FROM pg_catalog.pg_trigger
  WHERE tgrelid = 'drover.tenant'::pg_catalog.regclass AND tgname IN ('tenant_form', 'tenant_form_new') AND tgenabled = 'A')`;

/**
 * What a row may be. No CHECK constraints: PostgreSQL reads all of them from the catalog's text for every statement that updates the table (docs/adr/0013-known-tenants.md). The triggers are looked at only where one of these columns is set, and fire where one has changed. The table is
 * locked only when there is something to do.
 */
export const TENANT_FORM: readonly string[] = [
  `CREATE OR REPLACE FUNCTION drover.tenant_form() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_wrong text := CASE
  WHEN NEW.epoch < 0 THEN 'an epoch is not negative'
  WHEN NEW.role NOT IN ('primary', 'replica') THEN 'role is primary or replica'
  WHEN NEW.feed NOT IN ('copying', 'catchup', 'live', 'held', 'parked') THEN 'feed is copying, catchup, live, held or parked'
  WHEN NEW.open AND NEW.role <> 'primary' THEN 'only a primary is open'
  WHEN NEW.role = 'replica' AND (NEW.source IS NULL OR NEW.feed IS NULL) THEN 'a replica has a source and a feed'
  WHEN NEW.role = 'primary' AND (NEW.source IS NOT NULL OR NEW.feed IS NOT NULL) THEN 'a primary has no source and no feed'
END;
BEGIN
  IF v_wrong IS NOT NULL THEN
    RAISE EXCEPTION 'drover.tenant, %: %', NEW.tenant, v_wrong USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END $$`,
  `DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conrelid = 'drover.tenant'::pg_catalog.regclass AND contype = 'c') THEN
    ALTER TABLE drover.tenant DROP CONSTRAINT IF EXISTS tenant_epoch_check, DROP CONSTRAINT IF EXISTS tenant_role_check,
      DROP CONSTRAINT IF EXISTS tenant_feed_check, DROP CONSTRAINT IF EXISTS only_a_primary_is_open,
      DROP CONSTRAINT IF EXISTS a_replica_has_a_source, DROP CONSTRAINT IF EXISTS a_primary_has_no_source;
  END IF;
  IF NOT ${TENANT_FORM_HOLDS} THEN
    CREATE OR REPLACE TRIGGER tenant_form_new AFTER INSERT ON drover.tenant FOR EACH ROW EXECUTE FUNCTION drover.tenant_form();
    CREATE OR REPLACE TRIGGER tenant_form AFTER UPDATE OF epoch, role, open, source, feed ON drover.tenant FOR EACH ROW
      WHEN ((OLD.epoch, OLD.role, OLD.open, OLD.source, OLD.feed) IS DISTINCT FROM (NEW.epoch, NEW.role, NEW.open, NEW.source, NEW.feed))
      EXECUTE FUNCTION drover.tenant_form();
    ${TENANT_FORM_ENABLED};
  END IF;
END $$`,
];

/**
 * Locks the tenants' rows as the apply worker does, in its order, and fails unless each is still the version (`xmin`) that it knows: then what it
 * decided without reading them anew holds. Up to eight one by one, which costs less than a join (docs/adr/0013-known-tenants.md).
 */
export const LOCK_KNOWN_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.lock_known(p_tenants text[], p_versions xid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_known boolean := true;
BEGIN
  IF cardinality(p_tenants) <= 8 THEN
    FOR i IN 1 .. cardinality(p_tenants) LOOP
      PERFORM FROM drover.tenant t WHERE t.tenant = p_tenants[i] AND t.xmin = p_versions[i] FOR NO KEY UPDATE;
      v_known := v_known AND FOUND;
    END LOOP;
  ELSE
    v_known := (SELECT count(*) FROM (SELECT t.tenant, t.xmin AS version FROM drover.tenant t WHERE t.tenant = ANY (p_tenants)
          ORDER BY t.tenant FOR NO KEY UPDATE) AS locked
        JOIN unnest(p_tenants, p_versions) AS known (tenant, version) ON known.tenant = locked.tenant AND known.version = locked.version)
      = cardinality(p_tenants);
  END IF;
  IF NOT v_known THEN
    RAISE EXCEPTION 'a tenant is not as it was' USING ERRCODE = 'DR006';
  END IF;
END $$`;

/** Fails unless a statement has met as many rows as it was to: then nothing that stands behind it in the same flight has an effect. */
export const MET_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.met(p_rows bigint, p_wanted bigint) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
  IF p_rows OPERATOR(pg_catalog.<>) p_wanted THEN
    RAISE EXCEPTION '% rows were met, not %', p_rows, p_wanted USING ERRCODE = 'DR006';
  END IF;
END $$`;

/** The same of a statement that is given: its rows are counted without being returned. */
export const MET_BY_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.met_by(p_statement text, p_wanted bigint) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE v_rows bigint;
BEGIN
  EXECUTE p_statement;
  GET DIAGNOSTICS v_rows = ROW_COUNT;
  PERFORM drover.met(v_rows, p_wanted);
END $$`;

/** First key of the advisory locks of apply workers' turns. */
const TURN_CLASS = LOCK_CLASS + 1;

/**
 * Until the transaction ends, nobody else has the turn `p_key` in this database. Who waited for a second goes on without: turns make things
 * faster, and nothing depends on them.
 */
export const TAKE_TURN_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.take_turn(p_key int) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s'
AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(${TURN_CLASS}, p_key);
EXCEPTION WHEN lock_not_available THEN
  NULL;
END $$`;

export type Feed = 'copying' | 'catchup' | 'live' | 'held' | 'parked';

export interface TenantRow {
  readonly tenant: string;
  readonly epoch: number;
  readonly role: 'primary' | 'replica';
  readonly open: boolean;
  readonly source: string | null;
  readonly feed: Feed | null;
  readonly systemId: string | null;
  readonly generation: number | null;
  readonly commitLsn: Lsn | null;
  readonly part: number | null;
  readonly stream: string | null;
  readonly streamSeq: number | null;
  readonly lenientUntil: Lsn | null;
  readonly skipLsn: Lsn | null;
  readonly commitTime: Date | null;
  readonly reason: string | null;
  readonly updatedAt: Date;
}
