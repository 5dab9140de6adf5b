/** Reading drover.tenant and moving its checkpoints. */
import { DroverError, formatLsn, type Lsn, parseLsn } from '@drover/core';
import { type Queryable, queryOne, queryRows } from './queryable.ts';
import type { Feed, TenantRow } from './tenant.sql.ts';

interface RawTenantRow {
  [column: string]: unknown;
  tenant: string;
  epoch: string;
  role: 'primary' | 'replica';
  open: boolean;
  source: string | null;
  feed: Feed | null;
  system_id: string | null;
  generation: number | null;
  commit_lsn: string | null;
  part: number | null;
  stream: string | null;
  stream_seq: string | null;
  lenient_until: string | null;
  skip_lsn: string | null;
  commit_time: Date | null;
  reason: string | null;
  updated_at: Date;
}

const COLUMNS = `tenant, epoch, role, open, source, feed, system_id, generation, commit_lsn, part, stream, stream_seq,
  lenient_until, skip_lsn, commit_time, reason, updated_at`;

const lsnOrNull = (text: string | null): Lsn | null => (text === null ? null : parseLsn(text));

function toTenantRow(raw: RawTenantRow): TenantRow {
  return {
    tenant: raw.tenant,
    epoch: Number(raw.epoch),
    role: raw.role,
    open: raw.open,
    source: raw.source,
    feed: raw.feed,
    systemId: raw.system_id,
    generation: raw.generation,
    commitLsn: lsnOrNull(raw.commit_lsn),
    part: raw.part,
    stream: raw.stream,
    streamSeq: raw.stream_seq === null ? null : Number(raw.stream_seq),
    lenientUntil: lsnOrNull(raw.lenient_until),
    skipLsn: lsnOrNull(raw.skip_lsn),
    commitTime: raw.commit_time,
    reason: raw.reason,
    updatedAt: raw.updated_at,
  };
}

export async function readTenantRow(client: Queryable, tenant: string): Promise<TenantRow | null> {
  const raw = await queryOne<RawTenantRow>(client, `SELECT ${COLUMNS} FROM drover.tenant WHERE tenant = $1`, [
    tenant,
  ]);
  return raw === null ? null : toTenantRow(raw);
}

/** All rows, or those of one role, or those fed by one source; ordered by tenant. */
export async function listTenantRows(
  client: Queryable,
  filter: { role?: 'primary' | 'replica'; source?: string } = {},
): Promise<TenantRow[]> {
  const rows = await queryRows<RawTenantRow>(
    client,
    `SELECT ${COLUMNS} FROM drover.tenant
     WHERE ($1::text IS NULL OR role = $1) AND ($2::text IS NULL OR source = $2) ORDER BY tenant`,
    [filter.role ?? null, filter.source ?? null],
  );
  return rows.map(toTenantRow);
}

/**
 * Locks the tenants' rows until the transaction ends, always in the same order, so that two appliers cannot deadlock.
 * Tenants without a row are missing from the map.
 */
export async function lockTenantRows(
  client: Queryable,
  tenants: readonly string[],
): Promise<Map<string, TenantRow>> {
  const rows = await queryRows<RawTenantRow>(
    client,
    `SELECT ${COLUMNS} FROM drover.tenant WHERE tenant = ANY($1::text[]) ORDER BY tenant FOR UPDATE`,
    [tenants],
  );
  return new Map(rows.map((raw) => [raw.tenant, toTenantRow(raw)]));
}

/** How far a tenant has been applied: stored in the transaction that applied it. */
export interface Checkpoint {
  readonly tenant: string;
  readonly systemId: string;
  readonly generation: number;
  readonly commitLsn: Lsn;
  readonly part: number;
  readonly streamSeq: number;
  readonly commitTime: Date | null;
}

/** @throws DroverError internal.assertion when a tenant has no row, or is not a replica: nothing may be applied to it then. */
export async function writeCheckpoints(client: Queryable, checkpoints: readonly Checkpoint[]): Promise<void> {
  if (checkpoints.length === 0) return;
  const result = await client.query(
    `UPDATE drover.tenant t SET system_id = c.system_id, generation = c.generation, commit_lsn = c.commit_lsn, part = c.part,
       stream_seq = c.stream_seq, commit_time = coalesce(c.commit_time, t.commit_time), updated_at = pg_catalog.clock_timestamp()
     FROM unnest($1::text[], $2::text[], $3::int[], $4::pg_lsn[], $5::int[], $6::bigint[], $7::timestamptz[])
       AS c (tenant, system_id, generation, commit_lsn, part, stream_seq, commit_time)
     WHERE t.tenant = c.tenant AND t.role = 'replica'`,
    [
      checkpoints.map((c) => c.tenant),
      checkpoints.map((c) => c.systemId),
      checkpoints.map((c) => c.generation),
      checkpoints.map((c) => formatLsn(c.commitLsn)),
      checkpoints.map((c) => c.part),
      checkpoints.map((c) => c.streamSeq),
      checkpoints.map((c) => c.commitTime),
    ],
  );
  mustHit(result.rowCount, checkpoints.length, 'checkpoint');
}

/** Moves the "looked at" mark of tenants for messages that changed nothing here (skipped, ledgered). Never backwards. */
export async function advanceStreamSeq(
  client: Queryable,
  marks: readonly { tenant: string; streamSeq: number }[],
): Promise<void> {
  if (marks.length === 0) return;
  await client.query(
    `UPDATE drover.tenant t SET stream_seq = m.stream_seq, updated_at = pg_catalog.clock_timestamp()
     FROM unnest($1::text[], $2::bigint[]) AS m (tenant, stream_seq)
     WHERE t.tenant = m.tenant AND t.role = 'replica' AND (t.stream_seq IS NULL OR t.stream_seq < m.stream_seq)`,
    [marks.map((m) => m.tenant), marks.map((m) => m.streamSeq)],
  );
}

/**
 * Changes a replica's feed, only from one of the feeds in `from` when given. Returns false when the row is not as expected:
 * somebody else changed it first.
 */
export async function setFeed(
  client: Queryable,
  change: { tenant: string; feed: Feed; reason?: string | null; from?: readonly Feed[]; epoch?: number },
): Promise<boolean> {
  const result = await client.query(
    `UPDATE drover.tenant SET feed = $2, reason = $3, updated_at = pg_catalog.clock_timestamp()
     WHERE tenant = $1 AND role = 'replica' AND ($4::text[] IS NULL OR feed = ANY($4)) AND ($5::bigint IS NULL OR epoch = $5)`,
    [change.tenant, change.feed, change.reason ?? null, change.from ?? null, change.epoch ?? null],
  );
  return result.rowCount === 1;
}

/** Notes the transaction an operator decided to skip; null forgets it. */
export async function setSkipLsn(client: Queryable, tenant: string, skip: Lsn | null): Promise<void> {
  const result = await client.query(
    'UPDATE drover.tenant SET skip_lsn = $2, updated_at = pg_catalog.clock_timestamp() WHERE tenant = $1',
    [tenant, skip === null ? null : formatLsn(skip)],
  );
  mustHit(result.rowCount, 1, 'skip_lsn');
}

function mustHit(actual: number | null, expected: number, what: string): void {
  if (actual === expected) return;
  throw new DroverError(
    'internal.assertion',
    `${what} was to change ${expected} rows of drover.tenant but changed ${actual ?? 0}`,
  );
}
