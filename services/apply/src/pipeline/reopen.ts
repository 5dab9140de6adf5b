/**
 * Tenants that are parked because a block of theirs could not be opened go on by themselves when it can be: the master key was given to this
 * process, or the record of the key is back. Of a key that was shredded that never happens, and of one that has another in its place nobody can tell.
 */
import { describeError, isCancelled, type TenantId } from '@drover/core';
import type { PgPool } from '@drover/pg';
import type { Logger } from '@drover/telemetry';
import type { FetchedKeys } from '../changes/unseal.ts';

/** Looked at in one go; others have their turn. */
const AT_ONCE = 100;

interface Parked {
  readonly tenant: string;
  readonly key_id: number;
  [column: string]: unknown;
}

/** Their open ledger entries name the keys. */
const PARKED = `
SELECT DISTINCT ON (t.tenant) t.tenant, (l.detail ->> 'keyId')::bigint::float8 AS key_id
FROM drover.tenant t JOIN drover.ledger l ON l.tenant = t.tenant AND l.source = t.source AND l.kind = 'poison' AND l.status = 'open'
WHERE t.role = 'replica' AND t.feed = 'parked' AND t.reason LIKE 'block.sealed:%' AND l.detail ? 'keyId'
  AND NOT l.detail ? 'isAnother'
ORDER BY t.tenant, l.id DESC`;

const RESUME = `
WITH resumed AS (
  UPDATE drover.tenant SET feed = 'catchup', reason = NULL, updated_at = now()
  WHERE tenant = $1 AND role = 'replica' AND feed = 'parked' AND reason LIKE 'block.sealed:%' RETURNING tenant, source)
UPDATE drover.ledger l SET status = 'retried', resolved_at = now(), resolved_by = 'apply'
FROM resumed r WHERE l.tenant = r.tenant AND l.source = r.source AND l.kind = 'poison' AND l.status = 'open' AND l.detail ? 'keyId'`;

/** Never throws: it is tried again with the next look. */
export async function reopenSealed(pool: PgPool, keys: FetchedKeys, log: Logger): Promise<void> {
  try {
    await reopen(pool, keys, log);
  } catch (error) {
    if (!isCancelled(error)) log.debug('sealed tenants cannot be looked at', { error: describeError(error) });
  }
}

async function reopen(pool: PgPool, keys: FetchedKeys, log: Logger): Promise<void> {
  const { rows } = await pool.query<Parked>(
    `SELECT tenant, key_id FROM (${PARKED}) AS parked ORDER BY random() LIMIT ${AT_ONCE}`,
  );
  for (const { tenant, key_id } of rows) {
    if (!(await opens(keys, tenant as TenantId, key_id))) continue;
    const { rowCount } = await pool.query(RESUME, [tenant]);
    if ((rowCount ?? 0) > 0)
      log.info('a sealed block can be opened now: its tenant goes on', { tenant, keyId: key_id });
  }
}

async function opens(keys: FetchedKeys, tenant: TenantId, id: number): Promise<boolean> {
  if (keys.lacks(tenant, id)) await keys.load(tenant, id);
  try {
    return keys.find(tenant, id) !== null;
  } catch {
    return false; // with the reason that it was parked for, or a newer one
  }
}
