/** Stops the tenants of one partition whose rows are in a table that could not be changed, at this place of the stream (I7, I8). */
import { formatLsn, partitionOf, type TenantId } from '@drover/core';
import type { Target } from '../apply/batch.ts';
import type { Entry } from '../changes/entry.ts';
import { arrayLiteral } from '../target/array-literal.ts';
import type { Where } from './remember.ts';
import type { Touched } from './steps.ts';

/** What became of a change that was not made, or not wholly. */
export interface Verdict {
  readonly code: string;
  readonly reason: string;
  readonly touched: readonly Touched[];
  readonly where: Where;
  readonly command: string;
}

/** Within the caller's transaction. Those that are copied, held or parked meet the change's rows later. */
export async function parkTouched(
  { session, source, partition, stream }: Target,
  {
    entry,
    verdict,
    partitions,
  }: { readonly entry: Entry; readonly verdict: Verdict; readonly partitions: number },
): Promise<{ tenant: string; reason: string }[]> {
  const reason = `${verdict.code}: ${verdict.reason}`;
  const rows = await session.rows(
    `SELECT tenant FROM drover.tenant WHERE role = 'replica' AND source = $1 AND feed IN ('live', 'catchup') ORDER BY tenant FOR NO KEY UPDATE`,
    [source],
  );
  const mine = rows.flatMap(([tenant]) => {
    if (tenant == null || partitionOf(tenant as TenantId, partitions) !== partition) return [];
    const meant = verdict.touched.some((t) => (t === 'all' ? tenant !== '_shared' : t.tenant === tenant));
    return meant ? [tenant] : [];
  });
  if (mine.length === 0) return [];
  const detail = JSON.stringify({ command: verdict.command });
  await session.rows(
    `WITH parked AS (
         UPDATE drover.tenant SET feed = 'parked', reason = $2, stream = $3,
           stream_seq = CASE WHEN feed = 'live' AND (stream = $3 OR stream IS NULL) THEN greatest(coalesce(stream_seq, 0), $4::bigint) ELSE stream_seq END, updated_at = now()
         WHERE tenant = ANY ($1::text[]) RETURNING tenant, epoch)
       INSERT INTO drover.ledger (tenant, source, epoch, commit_lsn, part, stream, stream_seq, kind, reason, detail)
       SELECT p.tenant, $5, p.epoch, $6::pg_lsn, 0, $3, $4::bigint, 'poison', $2, $7::jsonb FROM parked p ORDER BY p.tenant`,
    [
      arrayLiteral(mine),
      reason,
      stream,
      String(entry.firstSeq - 1),
      source,
      formatLsn(verdict.where.lsn),
      detail,
    ],
  );
  return mine.map((tenant) => ({ tenant, reason }));
}
