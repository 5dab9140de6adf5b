/** The transaction in which a schema is changed: one at a time in the database, whatever the source. */
import { LOCK_CLASS } from '@drover/pg';
import type { Target } from '../apply/batch.ts';

/** A table that others use is asked for again and again, never waited for behind a lock that holds everybody up. */
const LOCK_MS = 1000;
/** Second key of the advisory lock. */
const DDL_LOCK = 0x44444c;

export async function beginDdl({ session }: Target): Promise<void> {
  const flight = session.flight();
  flight.statement('BEGIN ISOLATION LEVEL READ COMMITTED');
  flight.statement(`SET LOCAL lock_timeout = ${LOCK_MS}`);
  flight.statement('SET LOCAL synchronous_commit = on');
  flight.statement('SELECT pg_catalog.pg_advisory_xact_lock($1::int, $2::int)', [
    String(LOCK_CLASS),
    String(DDL_LOCK),
  ]);
  await session.send(flight);
}
