/** Stream positions of a replica, epochs of a primary, the progress of copies. */
import { parseLsn } from '@drover/core';
import type { CopyRow } from './copy.sql.ts';
import type { EpochRow } from './epoch.sql.ts';
import { type Queryable, queryOne, queryRows } from './queryable.ts';
import type { StreamPositionRow } from './stream-position.sql.ts';

interface RawPosition {
  [column: string]: unknown;
  source: string;
  partition: number;
  stream_created: string;
  stream_seq: string;
  commit_time: Date | null;
}

export async function readStreamPositions(client: Queryable, source: string): Promise<StreamPositionRow[]> {
  const rows = await queryRows<RawPosition>(
    client,
    `SELECT source, partition, stream_created, stream_seq, commit_time FROM drover.stream_position
     WHERE source = $1 ORDER BY partition`,
    [source],
  );
  return rows.map((raw) => ({
    source: raw.source,
    partition: raw.partition,
    streamCreated: raw.stream_created,
    streamSeq: Number(raw.stream_seq),
    commitTime: raw.commit_time,
  }));
}

/** Whatever stood there is replaced: whether a position may go back or change its stream is the caller's decision. */
export async function upsertStreamPosition(client: Queryable, position: StreamPositionRow): Promise<void> {
  await client.query(
    `INSERT INTO drover.stream_position AS p (source, partition, stream_created, stream_seq, commit_time)
     VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (source, partition) DO UPDATE SET stream_created = EXCLUDED.stream_created, stream_seq = EXCLUDED.stream_seq,
       message_ms = NULL, commit_time = coalesce(EXCLUDED.commit_time, p.commit_time), updated_at = pg_catalog.clock_timestamp()`,
    [position.source, position.partition, position.streamCreated, position.streamSeq, position.commitTime],
  );
}

/** Epochs opened on this cluster, oldest first; of one tenant or of all. */
export async function listEpochs(client: Queryable, tenant?: string): Promise<EpochRow[]> {
  const rows = await queryRows<{ tenant: string; epoch: string; opened_lsn: string; opened_at: Date }>(
    client,
    `SELECT tenant, epoch, opened_lsn, opened_at FROM drover.epoch WHERE $1::text IS NULL OR tenant = $1 ORDER BY tenant, epoch`,
    [tenant ?? null],
  );
  return rows.map((raw) => ({
    tenant: raw.tenant,
    epoch: Number(raw.epoch),
    openedLsn: parseLsn(raw.opened_lsn),
    openedAt: raw.opened_at,
  }));
}

export async function readCopy(client: Queryable, tenant: string): Promise<CopyRow | null> {
  return queryOne<CopyRow & { [column: string]: unknown }>(
    client,
    `SELECT tenant, source, state, attempt, snapshot, progress, error, started_at AS "startedAt", updated_at AS "updatedAt"
     FROM drover.copy WHERE tenant = $1`,
    [tenant],
  );
}

export async function upsertCopy(
  client: Queryable,
  copy: Omit<CopyRow, 'startedAt' | 'updatedAt'>,
): Promise<void> {
  await client.query(
    `INSERT INTO drover.copy (tenant, source, state, attempt, snapshot, progress, error) VALUES ($1, $2, $3, $4, $5, $6, $7)
     ON CONFLICT (tenant) DO UPDATE SET source = EXCLUDED.source, state = EXCLUDED.state, attempt = EXCLUDED.attempt,
       snapshot = EXCLUDED.snapshot, progress = EXCLUDED.progress, error = EXCLUDED.error, updated_at = pg_catalog.clock_timestamp()`,
    [
      copy.tenant,
      copy.source,
      copy.state,
      copy.attempt,
      JSON.stringify(copy.snapshot),
      JSON.stringify(copy.progress),
      copy.error,
    ],
  );
}
