/**
 * The stream does not hold what comes next: every tenant it feeds may have lost changes and is parked until it is copied anew. The position moves to
 * where the stream is now, so that copied tenants can be fed again. Nothing of this is silent.
 */
import type { StreamState } from '@drover/bus';
import type { DroverError } from '@drover/core';
import { arrayLiteral } from '../target/array-literal.ts';
import type { Session } from '../target/session.ts';
import { fedHere } from './fed-here.ts';

export interface Loss {
  readonly source: string;
  readonly partition: number;
  readonly partitions: number;
  readonly stream: string;
  /** As it is now; undefined: there is none. */
  readonly state: StreamState | undefined;
  readonly error: DroverError;
}

/** One durable transaction. Returns the parked ones. */
export async function loseAll(
  session: Session,
  { source, partition, partitions, stream, state, error }: Loss,
): Promise<{ readonly parked: readonly string[]; readonly reason: string }> {
  const here = await fedHere(session, { source, partition, partitions });
  const reason = `${error.code}: ${error.message}`;
  const position = String(Math.max(0, (state?.firstSeq ?? 1) - 1));
  const anew = error.code === 'bus.recreated';
  const flight = session.flight();
  flight.statement('BEGIN');
  flight.statement('SET LOCAL synchronous_commit = on');
  // In a stream that is another one now, going on behind a parked tenant's own ledger entry would pass over what is missing, too.
  flight.statement(
    `WITH parked AS (
       UPDATE drover.tenant AS t SET feed = 'parked', reason = $2, updated_at = now()
       WHERE tenant = ANY ($1::text[]) AND role = 'replica' AND source = $3
         AND (feed <> 'parked' OR $5::boolean AND NOT EXISTS (SELECT FROM drover.ledger AS l
           WHERE l.tenant = t.tenant AND l.source = $3 AND l.kind = 'resync' AND l.status = 'open'))
       RETURNING tenant, epoch)
     INSERT INTO drover.ledger (tenant, source, epoch, kind, reason, stream)
     SELECT tenant, $3, epoch, 'resync', $2, $4 FROM parked ORDER BY tenant RETURNING tenant`,
    [arrayLiteral(here), reason, source, stream, String(anew)],
  );
  // Its sequences mean other messages now, to primaries and to those that follow others, too.
  if (anew)
    flight.statement('UPDATE drover.tenant SET stream_seq = $2::bigint WHERE stream = $1', [
      stream,
      position,
    ]);
  flight.statement(
    `INSERT INTO drover.stream_position (source, partition, stream_created, stream_seq) VALUES ($1, $2::int, $3, $4::bigint)
     ON CONFLICT (source, partition) DO UPDATE SET stream_created = excluded.stream_created, stream_seq = excluded.stream_seq,
       message_ms = NULL, applied_lsn = NULL, applied_seq = NULL`,
    [source, String(partition), state?.created ?? '', position],
  );
  flight.statement('COMMIT');
  const answers = await session.send(flight);
  session.committed();
  return { parked: (answers[2]?.rows ?? []).flatMap(([tenant]) => (tenant == null ? [] : [tenant])), reason };
}
