/**
 * The writing side of a copy: a session as `drover_apply` whose writes are not captured again and fire nothing. One at a time for a tenant and
 * target, whoever believes to hold the lease: the session holds a lock as long as it lives.
 */
import { DroverError, sleep, type TenantId } from '@drover/core';
import { originName, type PgPool } from '@drover/pg';
import { openSession, type Session, type SessionClient } from '../sessions.ts';

/** A session that was cut a moment ago is still there until its server has noticed. */
const PATIENCE_MS = 3000;

/** `slot` numbers the copies that run at once: each has a replication origin of its own. */
export async function openTarget(
  pool: PgPool,
  options: { tenant: TenantId; slot: number; signal: AbortSignal },
): Promise<Session> {
  const session = await openSession(pool.options, 'drover copy', options.signal);
  try {
    const { client } = session;
    await client.query(`SET session_replication_role = 'replica'`);
    await patiently(() => lock(client, options.tenant), options.signal);
    await patiently(() => useOrigin(client, originName('copy', options.slot)), options.signal);
    return session;
  } catch (error) {
    await session.close();
    throw error;
  }
}

async function lock(client: SessionClient, tenant: TenantId): Promise<DroverError | null> {
  const { rows } = await client.query<{ got: boolean }>(
    `SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('drover.copy ' || $1, 0)) AS got`,
    [tenant],
  );
  return rows[0]?.got === true
    ? null
    : new DroverError('copy.failed', `${tenant} is being copied already, by another session`);
}

async function useOrigin(client: SessionClient, origin: string): Promise<DroverError | null> {
  try {
    await client.query('SELECT pg_catalog.pg_replication_origin_session_setup($1)', [origin]);
    return null;
  } catch (error) {
    // 55006 object_in_use: active for another process.
    if ((error as { code?: unknown }).code !== '55006') throw error;
    return new DroverError('copy.failed', `replication origin ${origin} is in use`, { cause: error });
  }
}

/** Tries until it gives no error, or time is up. */
async function patiently(attempt: () => Promise<DroverError | null>, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const error = await attempt();
    if (error === null) return;
    if (performance.now() > deadline || signal.aborted) throw error;
    await sleep(50, signal);
  }
}
