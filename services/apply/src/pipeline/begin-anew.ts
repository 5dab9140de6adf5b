/**
 * A stream that has lost what it held, and begins anew. Under `[nats] durability = "applied"` the reader publishes again everything that its slot
 * holds, and the slot holds whatever is not applied everywhere: a block of the reader's says from which commit on (`drover.begin`). Who has applied
 * everything before goes on behind that block; what it brings again is known by its commit LSN and skipped (I2). Who has not is parked and copied
 * anew (I1, I8): a tenant that was parked, or being copied, when the stream was lost.
 */
import { type Bus, consume, HEARTBEAT_TOKEN, type StreamState, streamName, subjectOf } from '@drover/bus';
import { type ClusterId, formatLsn, type Lsn, parseLsn } from '@drover/core';
import { type Entry, headerOf, toEntry } from '../changes/entry.ts';
import { arrayLiteral } from '../target/array-literal.ts';
import type { Session } from '../target/session.ts';
import { fedHere } from './fed-here.ts';
import type { Lineage } from './lineage.ts';

/** Where an entry says that everything from a commit on follows. */
export interface Beginning {
  readonly entry: Entry;
  readonly lsn: Lsn;
}

/** How many entries stand before the next beginning that was not dealt with yet. Pure. */
export function countUntilBegin(entries: readonly Entry[], begun: number): number {
  const next = entries.findIndex((entry) => entry.begin !== null && entry.seq !== begun);
  return next < 0 ? entries.length : next;
}

/** What this database has applied of the partition, as recorded. */
export interface AppliedUntil {
  readonly lsn: Lsn;
  readonly seq: number;
}

/** Everything below the beginning is applied here. Pure. */
export function isCovered(
  beginning: Beginning,
  known: Lineage | null,
  applied: AppliedUntil | null,
): boolean {
  const header = headerOf(beginning.entry);
  if (known === null || applied === null || header === undefined) return false;
  const same = header.systemId === known.systemId && header.generation === known.generation;
  return same && beginning.lsn <= applied.lsn + 1n;
}

/** What the stream says of how it began. */
export interface Found {
  /** The newest that continues what is applied here; otherwise the newest. Null: none. */
  readonly beginning: Beginning | null;
  /** When the newest heartbeat of this database was stored, Unix ms; 0: there is none. */
  readonly newestMs: number;
}

export async function findBeginning(
  bus: Bus,
  lane: { source: ClusterId; partition: number; database: string; state: StreamState },
  known: Lineage | null,
  applied: AppliedUntil | null,
  signal: AbortSignal,
): Promise<Found> {
  const { source, partition, database, state } = lane;
  let newest: Beginning | null = null;
  let covered: Beginning | null = null;
  let newestMs = 0;
  if (state.messages === 0) return { beginning: null, newestMs };
  const enough = new AbortController();
  const silent = setTimeout(() => enough.abort(), SILENCE_MS);
  const end = await bus.read(() =>
    bus.jsm.streams.getMessage(streamName(source, partition), {
      last_by_subj: subjectOf(source, partition, HEARTBEAT_TOKEN),
    }),
  );
  try {
    if (end === null) return { beginning: null, newestMs };
    const messages = consume(bus, {
      cluster: source,
      partition,
      startSeq: state.firstSeq,
      token: HEARTBEAT_TOKEN,
      expectCreated: state.created,
      signal: AbortSignal.any([signal, enough.signal]),
    });
    for await (const message of messages) {
      silent.refresh();
      const entry = toEntry(message, database);
      if (entry.block !== null) newestMs = message.timeMs;
      if (entry.begin !== null) {
        newest = { entry, lsn: entry.begin };
        if (isCovered(newest, known, applied)) covered = newest;
      }
      if (message.seq >= end.seq) break;
    }
  } finally {
    clearTimeout(silent);
  }
  return { beginning: covered ?? newest, newestMs };
}

const SILENCE_MS = 10_000;

export interface BeginAnew {
  readonly source: string;
  readonly partition: number;
  readonly partitions: number;
  readonly stream: string;
  readonly created: string;
  readonly known: Lineage | null;
  readonly applied: AppliedUntil | null;
  readonly beginning: Beginning;
}

/** One durable transaction: the position is behind the beginning, whoever lacks something is parked. Returns the parked ones. */
export async function beginAnew(
  session: Session,
  anew: BeginAnew,
): Promise<{ readonly parked: readonly string[]; readonly reason: string }> {
  const { source, partition, stream, created, known, applied, beginning } = anew;
  const { entry, lsn } = beginning;
  const whole = isCovered(beginning, known, applied);
  const reason = `bus.recreated: stream ${stream} has lost what it held; it was published again from ${formatLsn(lsn)} on`;
  const here = await fedHere(session, anew);
  const header = headerOf(entry);
  const flight = session.flight();
  flight.statement('BEGIN');
  flight.statement('SET LOCAL synchronous_commit = on');
  flight.statement(
    `WITH parked AS (
       UPDATE drover.tenant SET feed = 'parked', reason = $2, updated_at = now()
       WHERE tenant = ANY ($1::text[]) AND role = 'replica' AND source = $3
         AND NOT ($4::boolean AND (feed = 'live' OR feed <> 'copying' AND (
           stream = $5 AND stream_seq >= $6::bigint OR
           system_id = $7 AND generation = $8::int AND commit_lsn >= $9::pg_lsn)))
       RETURNING tenant, epoch)
     INSERT INTO drover.ledger (tenant, source, epoch, kind, reason, stream, stream_seq)
     SELECT tenant, $3, epoch, 'resync', $2, $5, $10::bigint FROM parked ORDER BY tenant RETURNING tenant`,
    [
      arrayLiteral(here),
      reason,
      source,
      String(whole),
      stream,
      String(applied?.seq ?? Number.MAX_SAFE_INTEGER),
      header?.systemId ?? '',
      String(header?.generation ?? 0),
      formatLsn((lsn - 1n) as Lsn),
      String(entry.seq),
    ],
  );
  // Sequences mean other messages now, of primaries and of those that follow others, too.
  flight.statement('UPDATE drover.tenant SET stream_seq = $2::bigint WHERE stream = $1', [
    stream,
    String(entry.seq),
  ]);
  flight.statement(
    `INSERT INTO drover.stream_position AS p (source, partition, stream_created, stream_seq, message_ms, system_id, generation, applied_lsn, applied_seq)
     VALUES ($1, $2::int, $3, $4::bigint, $5::bigint, $6, $7::int, $8::pg_lsn, $4::bigint)
     ON CONFLICT (source, partition) DO UPDATE SET stream_created = excluded.stream_created, stream_seq = excluded.stream_seq,
       message_ms = excluded.message_ms, system_id = excluded.system_id, generation = excluded.generation,
       applied_lsn = excluded.applied_lsn, applied_seq = excluded.applied_seq`,
    [
      source,
      String(partition),
      created,
      String(entry.seq),
      String(Math.floor(entry.timeMs)),
      header?.systemId ?? '',
      String(header?.generation ?? 0),
      formatLsn(whole && applied !== null ? applied.lsn : ((lsn - 1n) as Lsn)),
    ],
  );
  flight.statement('COMMIT');
  const answers = await session.send(flight);
  session.committed();
  return { parked: (answers[2]?.rows ?? []).flatMap(([tenant]) => (tenant == null ? [] : [tenant])), reason };
}

/** Of `applied_lsn` and `applied_seq`. */
export function appliedUntil(
  lsn: string | null | undefined,
  seq: string | null | undefined,
): AppliedUntil | null {
  return lsn == null || seq == null ? null : { lsn: parseLsn(lsn), seq: Number(seq) };
}
