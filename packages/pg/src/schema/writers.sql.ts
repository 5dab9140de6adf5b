/**
 * Who stands in the way of a close: transactions that have passed the tenant's fence and have not ended. Tenants whose
 * hashtext() is the same share a lock, so a neighbour may be named; it does block the close.
 */
import { LOCK_CLASS } from './writer.sql.ts';

export const WRITERS_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.writers(p_tenant text)
RETURNS TABLE (pid integer, prepared text, state text, usename name, application_name text, client_addr inet, xact_age interval,
  wait_event text)
LANGUAGE sql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT l.pid, p.gid, CASE WHEN l.pid IS NULL THEN 'prepared' ELSE a.state END, a.usename, a.application_name, a.client_addr,
    pg_catalog.clock_timestamp() - coalesce(a.xact_start, p.prepared), a.wait_event
  FROM pg_catalog.pg_locks l
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
  LEFT JOIN pg_catalog.pg_locks x ON l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid' AND x.granted
    AND x.virtualtransaction = l.virtualtransaction
  LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = x.transactionid
  WHERE l.locktype = 'advisory' AND l.mode = 'ShareLock' AND l.granted
    AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
    AND l.classid = ${LOCK_CLASS} AND l.objid::bigint = (pg_catalog.hashtext(p_tenant)::bigint & 4294967295) AND l.objsubid = 2
$$`;

/** Ends the backends listed by writers(); returns how many were signalled. Prepared transactions stay. */
export const TERMINATE_WRITERS_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.terminate_writers(p_tenant text) RETURNS integer
LANGUAGE sql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT count(*)::integer FROM (
    SELECT pg_catalog.pg_terminate_backend(w.pid) AS done FROM drover.writers(p_tenant) w
    WHERE w.pid IS NOT NULL AND w.pid <> pg_catalog.pg_backend_pid() OFFSET 0) signalled
  WHERE signalled.done
$$`;

export interface Writer {
  /** Null: a prepared transaction. */
  readonly pid: number | null;
  readonly prepared: string | null;
  /** As in pg_stat_activity, or `prepared`. */
  readonly state: string | null;
  readonly user: string | null;
  readonly applicationName: string | null;
  /** Age of its transaction in milliseconds. */
  readonly xactAgeMs: number | null;
  readonly waitEvent: string | null;
}
