/** Writing to and deciding about the ledger. */
import { DroverError, formatLsn, type Lsn, parseLsn } from '@drover/core';
import type { LedgerRow, LedgerStatus } from './ledger.sql.ts';
import { type Queryable, queryOne, queryRows } from './queryable.ts';

export interface LedgerEntry {
  readonly tenant: string;
  readonly source: string;
  readonly epoch: number | null;
  readonly commitLsn: Lsn | null;
  readonly part?: number | null;
  readonly stream?: string | null;
  readonly streamSeq?: number | null;
  readonly kind: string;
  readonly reason: string;
  readonly detail?: Readonly<Record<string, unknown>>;
}

interface RawLedgerRow {
  [column: string]: unknown;
  id: string;
  tenant: string;
  source: string;
  epoch: string | null;
  commit_lsn: string | null;
  part: number | null;
  stream: string | null;
  stream_seq: string | null;
  kind: string;
  reason: string;
  detail: Record<string, unknown>;
  status: LedgerStatus;
  created_at: Date;
  resolved_at: Date | null;
  resolved_by: string | null;
}

const COLUMNS = `id, tenant, source, epoch, commit_lsn, part, stream, stream_seq, kind, reason, detail, status, created_at,
  resolved_at, resolved_by`;

/** In the transaction that passes the change over. Returns the entry's id. */
export async function insertLedger(client: Queryable, entry: LedgerEntry): Promise<number> {
  const row = await queryOne<{ id: string }>(
    client,
    `INSERT INTO drover.ledger (tenant, source, epoch, commit_lsn, part, stream, stream_seq, kind, reason, detail)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id`,
    [
      entry.tenant,
      entry.source,
      entry.epoch,
      entry.commitLsn === null ? null : formatLsn(entry.commitLsn),
      entry.part ?? null,
      entry.stream ?? null,
      entry.streamSeq ?? null,
      entry.kind,
      entry.reason,
      JSON.stringify(entry.detail ?? {}),
    ],
  );
  return Number(row?.id);
}

export interface LedgerFilter {
  readonly tenant?: string;
  readonly status?: LedgerStatus;
  readonly kind?: string;
  /** Only entries older than this id: the last one of the previous page. */
  readonly beforeId?: number;
  /** Default 100. */
  readonly limit?: number;
}

/** Newest first. */
export async function listLedger(client: Queryable, filter: LedgerFilter = {}): Promise<LedgerRow[]> {
  const rows = await queryRows<RawLedgerRow>(
    client,
    `SELECT ${COLUMNS} FROM drover.ledger
     WHERE ($1::text IS NULL OR tenant = $1) AND ($2::text IS NULL OR status = $2) AND ($3::text IS NULL OR kind = $3)
       AND ($4::bigint IS NULL OR id < $4)
     ORDER BY id DESC LIMIT $5`,
    [
      filter.tenant ?? null,
      filter.status ?? null,
      filter.kind ?? null,
      filter.beforeId ?? null,
      filter.limit ?? 100,
    ],
  );
  return rows.map(toLedgerRow);
}

export async function readLedger(client: Queryable, id: number): Promise<LedgerRow | null> {
  const raw = await queryOne<RawLedgerRow>(client, `SELECT ${COLUMNS} FROM drover.ledger WHERE id = $1`, [
    id,
  ]);
  return raw === null ? null : toLedgerRow(raw);
}

/** Open entries per tenant and kind. */
export async function countLedger(
  client: Queryable,
): Promise<{ tenant: string; kind: string; entries: number }[]> {
  return queryRows(
    client,
    `SELECT tenant, kind, count(*)::int AS entries FROM drover.ledger WHERE status = 'open' GROUP BY tenant, kind ORDER BY tenant, kind`,
  );
}

/** Closes an open entry, on record. Returns false when it was not open (any more). */
export async function resolveLedger(
  client: Queryable,
  decision: { id: number; status: Exclude<LedgerStatus, 'open'>; by: string },
): Promise<boolean> {
  const result = await client.query(
    `UPDATE drover.ledger SET status = $2, resolved_at = pg_catalog.clock_timestamp(), resolved_by = $3
     WHERE id = $1 AND status = 'open'`,
    [decision.id, decision.status, decision.by],
  );
  if (result.rowCount === 1) return true;
  if ((await readLedger(client, decision.id)) === null) {
    throw new DroverError('rpc.invalid', `the ledger has no entry ${decision.id}`);
  }
  return false;
}

function toLedgerRow(raw: RawLedgerRow): LedgerRow {
  return {
    id: Number(raw.id),
    tenant: raw.tenant,
    source: raw.source,
    epoch: raw.epoch === null ? null : Number(raw.epoch),
    commitLsn: raw.commit_lsn === null ? null : parseLsn(raw.commit_lsn),
    part: raw.part,
    stream: raw.stream,
    streamSeq: raw.stream_seq === null ? null : Number(raw.stream_seq),
    kind: raw.kind,
    reason: raw.reason,
    detail: raw.detail,
    status: raw.status,
    createdAt: raw.created_at,
    resolvedAt: raw.resolved_at,
    resolvedBy: raw.resolved_by,
  };
}
