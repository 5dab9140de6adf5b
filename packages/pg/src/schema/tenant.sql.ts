/**
 * drover.tenant: may this cluster write for the tenant (I4), and up to where has it applied (I2). Read by writers and
 * by the apply worker inside the transaction they act in. Half-filled pages keep the checkpoint's updates HOT.
 */
import type { Lsn } from '@drover/core';

export const TENANT_TABLE = `
CREATE TABLE IF NOT EXISTS drover.tenant (
  tenant        text COLLATE "C" PRIMARY KEY,
  epoch         bigint NOT NULL CHECK (epoch >= 0),
  role          text NOT NULL CHECK (role IN ('primary', 'replica')),
  open          boolean NOT NULL DEFAULT false,
  source        text,
  feed          text CHECK (feed IN ('copying', 'catchup', 'live', 'held', 'parked')),
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
  updated_at    timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT only_a_primary_is_open CHECK (NOT open OR role = 'primary'),
  CONSTRAINT a_replica_has_a_source CHECK (role = 'primary' OR (source IS NOT NULL AND feed IS NOT NULL)),
  CONSTRAINT a_primary_has_no_source CHECK (role = 'replica' OR (source IS NULL AND feed IS NULL))
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500)`;

/**
 * Locks the tenants' rows as the apply worker does, in its order, and fails unless each is still the version (`xmin`) that it knows: then what it
 * decided without reading them anew holds.
 */
export const LOCK_KNOWN_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.lock_known(p_tenants text[], p_versions xid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF (SELECT count(*) FROM (SELECT t.tenant, t.xmin AS version FROM drover.tenant t WHERE t.tenant = ANY (p_tenants)
        ORDER BY t.tenant FOR NO KEY UPDATE) AS locked
      JOIN unnest(p_tenants, p_versions) AS known (tenant, version) ON known.tenant = locked.tenant AND known.version = locked.version)
     <> cardinality(p_tenants) THEN
    RAISE EXCEPTION 'a tenant is not as it was' USING ERRCODE = 'DR006';
  END IF;
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
