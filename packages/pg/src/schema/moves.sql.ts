/**
 * Closing, opening and following: the only ways in which a tenant's role and epoch change on a cluster (I4). Each takes
 * the tenant's fence lock exclusively first, so no writer is in flight while the row changes, and honours the caller's
 * lock_timeout. Each is safe to repeat with the same arguments (I10).
 */
import { LOCK_CLASS } from './writer.sql.ts';

const LOCK = `PERFORM pg_catalog.pg_advisory_xact_lock(${LOCK_CLASS}, pg_catalog.hashtext(p_tenant));`;

/**
 * Holds the tenant's writers off until the caller's transaction ends; when it returns, every earlier writer has ended.
 */
export const LOCK_TENANT_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.lock_tenant(p_tenant text) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  ${LOCK}
END $$`;

/**
 * No more writes of the tenant under this epoch. The barrier is emitted after the last writer's commit record and in the same
 * transaction: every change of the tenant under this epoch commits below the LSN returned. Repeated: a new barrier.
 */
export const CLOSE_TENANT_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.close_tenant(p_tenant text, p_epoch bigint) RETURNS pg_lsn
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  state drover.tenant;
BEGIN
  ${LOCK}
  SELECT t.* INTO state FROM drover.tenant t WHERE t.tenant = p_tenant FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'tenant "%" is not held here', p_tenant USING ERRCODE = 'DR004';
  ELSIF state.epoch <> p_epoch THEN
    RAISE EXCEPTION 'tenant "%" is at epoch %, not at %', p_tenant, state.epoch, p_epoch USING ERRCODE = 'DR002';
  ELSIF state.role <> 'primary' THEN
    RAISE EXCEPTION 'tenant "%" is a replica here', p_tenant USING ERRCODE = 'DR003';
  END IF;
  IF state.open THEN
    UPDATE drover.tenant t SET open = false, updated_at = pg_catalog.now() WHERE t.tenant = p_tenant;
  END IF;
  RETURN pg_catalog.pg_logical_emit_message(true, 'drover.barrier',
    pg_catalog.json_build_object('tenant', p_tenant, 'id', 'close.' || p_epoch || '.' || pg_catalog.pg_current_xact_id())::text);
END $$`;

/**
 * This cluster is the tenant's writer under this epoch, which must be newer than any it knows. Returns the LSN of the
 * `drover.epoch` message. Repeating an open that took effect, and still holds, returns its LSN and changes nothing;
 * an epoch that was closed is never opened again.
 */
export const OPEN_TENANT_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.open_tenant(p_tenant text, p_epoch bigint) RETURNS pg_lsn
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  state drover.tenant;
  opened pg_lsn;
BEGIN
  ${LOCK}
  SELECT t.* INTO state FROM drover.tenant t WHERE t.tenant = p_tenant FOR UPDATE;
  IF state.role = 'primary' AND state.open AND state.epoch = p_epoch THEN
    RETURN (SELECT e.opened_lsn FROM drover.epoch e WHERE e.tenant = p_tenant AND e.epoch = p_epoch);
  END IF;
  IF p_epoch <= 0 OR state.epoch >= p_epoch THEN
    RAISE EXCEPTION 'tenant "%" is at epoch % here; it cannot be opened under %', p_tenant, coalesce(state.epoch, 0), p_epoch
      USING ERRCODE = 'DR002';
  END IF;
  opened := pg_catalog.pg_logical_emit_message(true, 'drover.epoch',
    pg_catalog.json_build_object('tenant', p_tenant, 'epoch', p_epoch)::text);
  INSERT INTO drover.epoch (tenant, epoch, opened_lsn) VALUES (p_tenant, p_epoch, opened);
  INSERT INTO drover.tenant AS t (tenant, epoch, role, open) VALUES (p_tenant, p_epoch, 'primary', true)
  ON CONFLICT (tenant) DO UPDATE SET epoch = p_epoch, role = 'primary', open = true, source = NULL, feed = NULL,
    lenient_until = NULL, skip_lsn = NULL, reason = NULL, updated_at = pg_catalog.now();
  RETURN opened;
END $$`;

/**
 * This cluster is a replica of the tenant, fed by p_source from behind p_stream_seq on. Refused while the tenant is open
 * here, for an older epoch, and for the epoch under which this cluster was the primary. The checkpoint starts anew.
 *
 * Returns false, and leaves the row alone, when it already follows the same source and stream in this epoch and has not
 * fallen behind p_stream_seq: a repeat after a crash must not throw away what was applied meanwhile. A copy always
 * starts anew: from `copying` every feed may follow, and to `copying` every replica may return.
 */
export const FOLLOW_TENANT_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.follow_tenant(p_tenant text, p_epoch bigint, p_source text, p_feed text,
  p_stream text, p_stream_seq bigint, p_lenient_until pg_lsn) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  state drover.tenant;
BEGIN
  IF p_tenant IS NULL OR p_epoch IS NULL OR p_source IS NULL OR p_feed IS NULL THEN
    RAISE EXCEPTION 'tenant, epoch, source and feed are needed' USING ERRCODE = '22004';
  END IF;
  ${LOCK}
  SELECT t.* INTO state FROM drover.tenant t WHERE t.tenant = p_tenant FOR UPDATE;
  IF p_source = (SELECT n.cluster FROM drover.node n) THEN
    RAISE EXCEPTION 'cluster "%" cannot follow itself', p_source USING ERRCODE = 'DR003';
  ELSIF state.open THEN
    RAISE EXCEPTION 'tenant "%" is open here under epoch %; close it first', p_tenant, state.epoch USING ERRCODE = 'DR003';
  ELSIF state.epoch > p_epoch OR (state.role = 'primary' AND state.epoch = p_epoch) THEN
    RAISE EXCEPTION 'tenant "%" is at epoch % here; it cannot follow under %', p_tenant, state.epoch, p_epoch
      USING ERRCODE = 'DR002';
  END IF;
  IF state.role = 'replica' AND state.epoch = p_epoch AND state.source = p_source AND state.feed <> 'copying'
     AND p_feed <> 'copying' AND state.stream IS NOT DISTINCT FROM p_stream
     AND (p_stream_seq IS NULL OR state.stream_seq >= p_stream_seq) THEN
    RETURN false;
  END IF;
  INSERT INTO drover.tenant AS t (tenant, epoch, role, open, source, feed, part, stream, stream_seq, lenient_until)
  VALUES (p_tenant, p_epoch, 'replica', false, p_source, p_feed, 0, p_stream, p_stream_seq, p_lenient_until)
  ON CONFLICT (tenant) DO UPDATE SET epoch = p_epoch, role = 'replica', open = false, source = p_source, feed = p_feed,
    system_id = NULL, generation = NULL, commit_lsn = NULL, part = 0, stream = p_stream, stream_seq = p_stream_seq,
    lenient_until = p_lenient_until, skip_lsn = NULL, commit_time = NULL, reason = NULL, updated_at = pg_catalog.now();
  RETURN true;
END $$`;

/** The cluster holds the tenant no more: its row goes. Refused while it is open here, or under an older epoch. */
export const FORGET_TENANT_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.forget_tenant(p_tenant text, p_epoch bigint) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  state drover.tenant;
BEGIN
  ${LOCK}
  SELECT t.* INTO state FROM drover.tenant t WHERE t.tenant = p_tenant FOR UPDATE;
  IF state.open THEN
    RAISE EXCEPTION 'tenant "%" is open here under epoch %; close it first', p_tenant, state.epoch USING ERRCODE = 'DR003';
  ELSIF state.epoch > p_epoch THEN
    RAISE EXCEPTION 'tenant "%" is at epoch % here, not at %', p_tenant, state.epoch, p_epoch USING ERRCODE = 'DR002';
  END IF;
  DELETE FROM drover.tenant t WHERE t.tenant = p_tenant;
END $$`;
