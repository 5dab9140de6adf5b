/**
 * The main lane and the tenants in lanes of their own: who crowds is handed to one, and what is theirs is passed over without their rows'
 * locks, which a lane may hold for as long as its transaction takes.
 *
 * Handed over between two transactions of the main lane, at its position P: everything at or below P is dealt with, so the lane begins
 * behind it. Back again as any lane (lanes.ts).
 */
import { type ClusterId, partitionOf, type TenantId } from '@drover/core';
import { classifyPgError } from '@drover/pg';
import type { Entry } from '../changes/entry.ts';
import { arrayLiteral } from '../target/array-literal.ts';
import type { Session } from '../target/session.ts';

export interface Place {
  readonly source: ClusterId;
  readonly stream: string;
  readonly partition: number;
  readonly partitions: number;
}

/** What `drover lag` says of such a tenant. */
export const BUSY_REASON = 'busy: it has a lane of its own for a while';

/** So many tenants are asked whether they are of the partition. */
const ASKED_MAX = 1000;

/**
 * Gives the tenant a lane of its own from behind `seq`. False: its row says otherwise, or is held by others; a row that remembers where a newer epoch begins
 * stays as it is; and whoever is alone in its partition is in nobody's way.
 */
export async function demote(session: Session, place: Place, tenant: string, seq: number): Promise<boolean> {
  const { source, stream } = place;
  try {
    if (!(await hasOthers(session, place, tenant))) return false;
    const rows = await session.rows(
      `UPDATE drover.tenant SET feed = 'catchup', stream = $3, reason = $5, updated_at = clock_timestamp(),
         stream_seq = CASE WHEN stream = $3 THEN greatest(stream_seq, $4::bigint) ELSE $4::bigint END
       WHERE tenant = $1 AND role = 'replica' AND source = $2 AND feed = 'live' AND reason IS NULL RETURNING tenant`,
      [tenant, source, stream, String(seq), BUSY_REASON],
    );
    return rows.length > 0;
  } catch (error) {
    if (classifyPgError(error).sqlstate === '55P03') return false;
    throw error;
  }
}

async function hasOthers(
  session: Session,
  { source, partition, partitions }: Place,
  tenant: string,
): Promise<boolean> {
  const rows = await session.rows(
    `SELECT tenant FROM drover.tenant WHERE role = 'replica' AND source = $1 AND feed = 'live' AND tenant <> $2 LIMIT ${ASKED_MAX}`,
    [source, tenant],
  );
  return rows.some(([other]) => other != null && partitionOf(other as TenantId, partitions) === partition);
}

/** Without those of tenants whose rows say, at this moment, that a lane of their own feeds them. */
export async function withoutLanes(
  session: Session,
  { source }: Pick<Place, 'source'>,
  entries: readonly Entry[],
  hasLane: (tenant: string) => boolean,
): Promise<readonly Entry[]> {
  const tenants = new Set<string>();
  for (const { kind, tenant } of entries) if (kind === 'block' && hasLane(tenant)) tenants.add(tenant);
  if (tenants.size === 0) return entries;
  const rows = await session.rows(
    `SELECT tenant FROM drover.tenant WHERE tenant = ANY ($1::text[]) AND role = 'replica' AND source = $2 AND feed = 'catchup'`,
    [arrayLiteral([...tenants]), source],
  );
  const fed = new Set(rows.map(([tenant]) => tenant));
  return entries.filter(({ kind, tenant }) => kind !== 'block' || !fed.has(tenant));
}
