/**
 * Which slot of the source a stream's blocks come from. When the slot was made anew, what was written in between is in no stream: every
 * tenant that was fed before is parked where the new slot's blocks begin, also the one that is never written again, until it is
 * copied anew (I1, I8). Positions of two slots are not comparable; their generation only grows.
 */

import { type Entry, headerOf } from '../changes/entry.ts';
import { arrayLiteral } from '../target/array-literal.ts';
import type { Session } from '../target/session.ts';
import { fedHere } from './fed-here.ts';

export interface Lineage {
  readonly systemId: string;
  readonly generation: number;
}

/** How many entries from the first on belong to what is known; less than all: with the next one a new lineage begins. Pure. */
export function countKnown(entries: readonly Entry[], known: Lineage | null): number {
  const next = entries.findIndex((entry) => {
    const header = headerOf(entry);
    return header !== undefined && (known === null || header.generation > known.generation);
  });
  return next < 0 ? entries.length : next;
}

export interface LineageChange {
  readonly source: string;
  readonly partition: number;
  readonly partitions: number;
  readonly stream: string;
  readonly created: string;
  /** Everything before it has been dealt with. */
  readonly position: number;
  readonly known: Lineage | null;
  /** The first entry of the new lineage. */
  readonly entry: Entry;
}

/** Parks the tenants of the partition that were fed before, and remembers the lineage: one durable transaction. Returns the parked ones. */
export async function enterLineage(
  session: Session,
  change: LineageChange,
): Promise<{ lineage: Lineage; parked: readonly string[]; reason: string }> {
  const { source, partition, stream, known, entry } = change;
  const { systemId = '', generation = 0 } = headerOf(entry) ?? {};
  const reason = `pg.slot_missing: the slot of ${source} was made anew (generation ${generation}, was ${known?.generation ?? 0}): what was written in between is not in the stream`;
  const here = await fedHere(session, change);
  const flight = session.flight();
  flight.statement('BEGIN');
  flight.statement('SET LOCAL synchronous_commit = on');
  // Who follows from a place in the new lineage has lost nothing: copied, or created, since. Who is parked for another reason is
  // parked for this one from now on: going on behind its ledger entry would not bring the rest.
  flight.statement(
    `WITH parked AS (
       UPDATE drover.tenant SET feed = 'parked', reason = $2, updated_at = now()
       WHERE tenant = ANY ($1::text[]) AND role = 'replica' AND source = $3 AND $6::boolean
         AND (generation IS NULL OR generation < $4::int)
         AND (stream IS DISTINCT FROM $5 OR stream_seq IS NULL OR stream_seq < $7::bigint)
       RETURNING tenant, epoch)
     INSERT INTO drover.ledger (tenant, source, epoch, kind, reason, stream, stream_seq)
     SELECT tenant, $3, epoch, 'resync', $2, $5, $7::bigint FROM parked ORDER BY tenant RETURNING tenant`,
    [
      arrayLiteral(here),
      reason,
      source,
      String(generation),
      stream,
      String(known !== null),
      String(entry.firstSeq),
    ],
  );
  flight.statement(
    `INSERT INTO drover.stream_position AS p (source, partition, stream_created, stream_seq, system_id, generation)
     VALUES ($1, $2::int, $3, $4::bigint, $5, $6::int)
     ON CONFLICT (source, partition) DO UPDATE SET system_id = excluded.system_id, generation = excluded.generation,
       applied_lsn = NULL, applied_seq = NULL`,
    [source, String(partition), change.created, String(change.position), systemId, String(generation)],
  );
  flight.statement('COMMIT');
  const answers = await session.send(flight);
  session.committed();
  const parked = (answers[2]?.rows ?? []).flatMap(([tenant]) => (tenant == null ? [] : [tenant]));
  return { lineage: { systemId, generation }, parked, reason };
}
