/**
 * The write fence (I4). drover.writer() is evaluated once in every statement that changes a tenant's rows, as init plan of the
 * policies. It takes the tenant's advisory lock shared, until the transaction ends, and *then* reads the tenant's row:
 *
 * - READ COMMITTED: each query of a VOLATILE function has a snapshot of its own (SPI, spi.c), taken after the lock was granted. A
 *   closer releases its exclusive lock after its commit is visible (CommitTransaction, xact.c), so the row read is never older than
 *   the last close.
 * - REPEATABLE READ, SERIALIZABLE: the snapshot may be older than a close. FOR SHARE on a row that was updated
 *   since the snapshot fails with 40001, so a stale snapshot never passes.
 *
 * PostgreSQL writes the commit record before it lets go of locks. So who holds the exclusive lock knows that every writer that
 * passed the fence has its commit record in the WAL, below whatever LSN the holder writes next: the barrier.
 *
 * An advisory lock taken inside a savepoint goes when the savepoint is rolled back, and with it the writes it was taken for.
 * A prepared transaction keeps it. pg_advisory_unlock* cannot release it: it is held by the transaction, not the session.
 */
import { VERIFY, VERIFY_DECLARE } from './context.sql.ts';

/** First key of the advisory locks, `DRVR` in ASCII; the second is hashtext(tenant). */
export const LOCK_CLASS = 0x44525652;

export const LOCK_CLASS_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.lock_class() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT ${LOCK_CLASS}'`;

export const WRITER_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.writer() RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE${VERIFY_DECLARE}
  signed_epoch bigint;
  state drover.tenant;
BEGIN${VERIFY}
  IF name IS NULL THEN
    RETURN NULL;
  END IF;
  signed_epoch := pg_catalog.split_part(context, '|', 2)::bigint;
  PERFORM pg_catalog.pg_advisory_xact_lock_shared(${LOCK_CLASS}, pg_catalog.hashtext(name));
  IF pg_catalog.current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') THEN
    SELECT t.role, t.open, t.epoch INTO state.role, state.open, state.epoch FROM drover.tenant t WHERE t.tenant = name;
  ELSE
    SELECT t.role, t.open, t.epoch INTO state.role, state.open, state.epoch FROM drover.tenant t WHERE t.tenant = name FOR SHARE;
  END IF;
  IF (state.role = 'primary' AND state.open AND state.epoch = signed_epoch) IS NOT TRUE THEN
    RAISE EXCEPTION USING ERRCODE = 'DR001',
      MESSAGE = 'this cluster does not accept writes of the tenant under epoch ' || signed_epoch,
      HINT = 'The tenant is being moved or is served elsewhere; try again.';
  END IF;
  RETURN name;
END $$`;

/** SQLSTATEs raised by the functions of schema drover. */
export const SQLSTATE = {
  /** A write where the tenant may not write: not primary here, closed, or another epoch. */
  notWriter: 'DR001',
  /** open, close or follow under an epoch that is not acceptable. */
  staleEpoch: 'DR002',
  /** open, close or follow in a state that forbids it. */
  wrongState: 'DR003',
  /** The cluster has no row for the tenant. */
  notHeld: 'DR004',
  /** The schema was changed between planning a write and its end. */
  schemaMoved: 'DR005',
  /** A row is not as it is known: that of a tenant is another version, or one of a table is not there. */
  rowMoved: 'DR006',
} as const;
