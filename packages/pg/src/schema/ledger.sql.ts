/**
 * drover.ledger: writes that would otherwise vanish (I1, I8): a dead primary's unreplicated tail, a poison change, a
 * lost conflict. Rows are never deleted by Drover; their status changes.
 */
import type { Lsn } from '@drover/core';

export const LEDGER_TABLE = `
CREATE TABLE IF NOT EXISTS drover.ledger (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant      text COLLATE "C" NOT NULL,
  source      text NOT NULL,
  epoch       bigint,
  commit_lsn  pg_lsn,
  part        integer,
  stream      text,
  stream_seq  bigint,
  kind        text NOT NULL,
  reason      text NOT NULL,
  detail      jsonb NOT NULL DEFAULT '{}',
  status      text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'retried', 'skipped', 'resolved')),
  created_at  timestamptz NOT NULL DEFAULT now(),
  resolved_at timestamptz,
  resolved_by text,
  CHECK ((status = 'open') = (resolved_at IS NULL))
)`;

export const LEDGER_INDEXES = [
  'CREATE INDEX IF NOT EXISTS ledger_by_tenant ON drover.ledger (tenant, id)',
  "CREATE INDEX IF NOT EXISTS ledger_open ON drover.ledger (id) WHERE status = 'open'",
];

export type LedgerStatus = 'open' | 'retried' | 'skipped' | 'resolved';

export interface LedgerRow {
  readonly id: number;
  readonly tenant: string;
  readonly source: string;
  readonly epoch: number | null;
  readonly commitLsn: Lsn | null;
  readonly part: number | null;
  readonly stream: string | null;
  readonly streamSeq: number | null;
  /** `stale_epoch`, `poison`, `conflict`, ... */
  readonly kind: string;
  readonly reason: string;
  readonly detail: Readonly<Record<string, unknown>>;
  readonly status: LedgerStatus;
  readonly createdAt: Date;
  readonly resolvedAt: Date | null;
  readonly resolvedBy: string | null;
}
