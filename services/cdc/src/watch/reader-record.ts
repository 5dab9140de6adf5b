/**
 * `drover.reader`: what the reader leaned on when it last confirmed its slot, written with each heartbeat into the source itself. A reader that
 * starts compares it with what it finds (pitfalls 7, 8, 56). What was acknowledged within one heartbeat before a crash is not in it.
 */
import { type Lsn, must, parseLsn } from '@drover/core';
import type { Queryable } from '@drover/pg';
import type { Form } from '../reader/form.ts';

/** The newest message of the reader's own that a stream had acknowledged. */
export interface StoredMark {
  readonly created: string;
  readonly seq: number;
  readonly publisher: string;
}

export interface ReaderRecord {
  readonly generation: number;
  readonly systemId: string;
  readonly timeline: number;
  /** End of the source's WAL when it was written: a slot made later begins behind it. */
  readonly walLsn: Lsn;
  /** By partition. */
  readonly streams: ReadonlyMap<number, StoredMark>;
  /** Null: of an older version. */
  readonly form: Form | null;
}

interface Row extends Record<string, unknown> {
  generation: number;
  system_id: string;
  timeline: number;
  wal_lsn: string;
  streams: unknown;
  form: string | null;
}

/** Null: none was written yet. */
export async function readRecord(client: Queryable): Promise<ReaderRecord | null> {
  const { rows } = await client.query<Row>(
    'SELECT generation, system_id, timeline, wal_lsn::text AS wal_lsn, streams, form FROM drover.reader',
  );
  const row = rows[0];
  if (row === undefined) return null;
  return {
    generation: row.generation,
    systemId: row.system_id,
    timeline: row.timeline,
    walLsn: parseLsn(row.wal_lsn),
    streams: parseStreams(row.streams),
    form: row.form === 'binary' || row.form === 'text' ? row.form : null,
  };
}

/** Returns its `walLsn`. A slot must not be confirmed beyond: it would seem to have been made later than the record. */
export async function writeRecord(client: Queryable, record: Omit<ReaderRecord, 'walLsn'>): Promise<Lsn> {
  const { rows } = await client.query<{ wal_lsn: string }>(
    `INSERT INTO drover.reader AS r (generation, system_id, timeline, wal_lsn, streams, form)
     SELECT $1::int, $2, $3::int, pg_catalog.pg_current_wal_lsn(), $4::jsonb, $5
     ON CONFLICT (only_row) DO UPDATE SET generation = excluded.generation, system_id = excluded.system_id,
       timeline = excluded.timeline, wal_lsn = excluded.wal_lsn, streams = excluded.streams, form = excluded.form, updated_at = pg_catalog.now()
     RETURNING wal_lsn::text AS wal_lsn`,
    [
      record.generation,
      record.systemId,
      record.timeline,
      JSON.stringify(Object.fromEntries(record.streams)),
      record.form,
    ],
  );
  return parseLsn(must(rows[0], 'the record that was written').wal_lsn);
}

/** What is not in form is left out: it proves nothing. */
function parseStreams(value: unknown): Map<number, StoredMark> {
  const streams = new Map<number, StoredMark>();
  if (typeof value !== 'object' || value === null) return streams;
  for (const [partition, mark] of Object.entries(value)) {
    const { created, seq, publisher } = (mark ?? {}) as Partial<Record<keyof StoredMark, unknown>>;
    if (typeof created === 'string' && typeof seq === 'number' && typeof publisher === 'string')
      streams.set(Number(partition), { created, seq, publisher });
  }
  return streams;
}
