/** Rows of drover.ledger that the apply worker writes, each exactly once whatever is replayed (I1, I8). */

import type { BlockHeader } from '@drover/block';
import { DroverError, describeError, formatLsn, type Lsn } from '@drover/core';
import type { Flight } from '../target/flight.ts';

export interface LedgerNote {
  readonly kind: 'stale_epoch' | 'poison' | 'skipped';
  readonly tenant: string;
  readonly header: Pick<BlockHeader, 'source' | 'epoch' | 'part'>;
  readonly lsn: Lsn;
  readonly stream: string;
  readonly seq: number;
  readonly reason: string;
  readonly detail: unknown;
}

const INSERT_ONCE = `
INSERT INTO drover.ledger (tenant, source, epoch, commit_lsn, part, stream, stream_seq, kind, reason, detail, status, resolved_at, resolved_by)
SELECT $1, $2, $3::bigint, $4::pg_lsn, $5::int, $6, $7::bigint, $8, $9, $10::jsonb, $11,
  CASE WHEN $11 = 'open' THEN NULL ELSE pg_catalog.now() END, CASE WHEN $11 = 'open' THEN NULL ELSE 'apply' END
WHERE NOT EXISTS (SELECT FROM drover.ledger l WHERE l.tenant = $1 AND l.source = $2 AND l.commit_lsn = $4::pg_lsn
  AND l.part = $5::int AND l.kind = $8 AND l.stream = $6 AND l.stream_seq = $7::bigint)`;

/** Parked again by the same transaction (where none can be named, by the same message): its row is opened again with the newer reason. */
const REOPEN = `
UPDATE drover.ledger SET reason = $5, detail = $6::jsonb, status = 'open', resolved_at = NULL, resolved_by = NULL
WHERE tenant = $1 AND source = $2 AND commit_lsn = $3::pg_lsn AND part = $4::int AND kind = 'poison'
  AND ($3::pg_lsn <> '0/0' OR stream = $7 AND stream_seq = $8::bigint)`;

/** A transaction that was poison once and has been applied or passed over since; with it, what stood before it was applied. */
const SETTLE = `
UPDATE drover.ledger SET status = CASE WHEN commit_lsn = $3::pg_lsn THEN $4 ELSE 'resolved' END, resolved_at = pg_catalog.now(), resolved_by = coalesce(resolved_by, 'apply')
WHERE tenant = $1 AND source = $2 AND kind = 'poison' AND commit_lsn <= $3::pg_lsn AND status IN ('open', 'retried')`;

export function writeNote(flight: Flight, note: LedgerNote): void {
  const lsn = formatLsn(note.lsn);
  const part = String(note.header.part);
  const detail = json(note.detail);
  if (note.kind === 'poison') {
    const seq = String(note.seq);
    flight.statement(REOPEN, [
      note.tenant,
      note.header.source,
      lsn,
      part,
      note.reason,
      detail,
      note.stream,
      seq,
    ]);
  }
  flight.statement(INSERT_ONCE, [
    note.tenant,
    note.header.source,
    String(note.header.epoch),
    lsn,
    part,
    note.stream,
    String(note.seq),
    note.kind,
    note.reason,
    detail,
    note.kind === 'skipped' ? 'skipped' : 'open',
  ]);
  if (note.kind === 'skipped') settle(flight, note.tenant, note.header.source, note.lsn, 'skipped');
}

export function settle(
  flight: Flight,
  tenant: string,
  source: string,
  lsn: Lsn,
  status: 'resolved' | 'skipped',
): void {
  flight.statement(SETTLE, [tenant, source, formatLsn(lsn), status]);
}

/** jsonb holds no NUL (manual, 8.14): its picture stands for it. */
const json = (value: unknown): string =>
  JSON.stringify(value, (_, v: unknown) => (typeof v === 'string' ? v.replaceAll('\0', '\u2400') : v));

/** What stopped a tenant: a code for programs, a sentence for people. */
export interface Failure {
  readonly code: string;
  readonly sqlstate: string | undefined;
  readonly message: string;
  readonly detail: string | undefined;
}

export function failureOf(error: unknown): Failure {
  const field = (name: string): string | undefined => {
    if (typeof error !== 'object' || error === null) return undefined;
    const value: unknown = Reflect.get(error, name);
    return typeof value === 'string' ? value : undefined;
  };
  if (error instanceof DroverError) {
    return { code: error.code, sqlstate: undefined, message: describeError(error), detail: undefined };
  }
  const sqlstate = field('code');
  const schema = sqlstate !== undefined && (sqlstate.startsWith('42') || sqlstate.startsWith('22'));
  const where = [field('schema'), field('table')].filter((part) => part !== undefined).join('.');
  const message = `${describeError(error)}${where === '' ? '' : ` (table ${where})`}`;
  return { code: schema ? 'apply.schema' : 'apply.conflict', sqlstate, message, detail: field('detail') };
}
