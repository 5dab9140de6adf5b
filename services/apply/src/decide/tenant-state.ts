/** `drover.tenant` as the apply worker holds it in memory during one transaction, and the SQL that reads and writes it. */
import { type Lsn, parseLsn } from '@drover/core';

export type Feed = 'copying' | 'catchup' | 'live' | 'held' | 'parked';

export interface TenantState {
  readonly tenant: string;
  readonly epoch: number;
  readonly role: 'primary' | 'replica';
  readonly source: string | null;
  feed: Feed | null;
  systemId: string | null;
  generation: number | null;
  commitLsn: Lsn | null;
  part: number;
  stream: string | null;
  streamSeq: number | null;
  readonly lenientUntil: Lsn | null;
  skipLsn: Lsn | null;
  /** Unix milliseconds. */
  commitTimeMs: number | null;
  reason: string | null;
}

const FIELDS = [
  'tenant',
  'epoch',
  'role',
  'source',
  'feed',
  'system_id',
  'generation',
  'commit_lsn',
  'part',
  'stream',
  'stream_seq',
  'lenient_until',
  'skip_lsn',
  '(extract(epoch FROM commit_time) * 1000)::bigint',
  'reason',
];

export const TENANT_COLUMNS = FIELDS.join(', ');

/** The same as one column, an array of texts. */
export const TENANT_FIELDS = `ARRAY[${FIELDS.map((field) => `(${field})::text`).join(', ')}]`;

/** Fields in the order of {@link TENANT_COLUMNS}, text format. */
export function parseTenantState(f: readonly (string | null)[]): TenantState {
  const number = (text: string | null | undefined): number | null => (text == null ? null : Number(text));
  const position = (text: string | null | undefined): Lsn | null => (text == null ? null : parseLsn(text));
  return {
    tenant: f[0] ?? '',
    epoch: Number(f[1]),
    role: f[2] === 'primary' ? 'primary' : 'replica',
    source: f[3] ?? null,
    feed: (f[4] ?? null) as Feed | null, // drover.tenant_form holds the set
    systemId: f[5] ?? null,
    generation: number(f[6]),
    commitLsn: position(f[7]),
    part: number(f[8]) ?? 0,
    stream: f[9] ?? null,
    streamSeq: number(f[10]),
    lenientUntil: position(f[11]),
    skipLsn: position(f[12]),
    commitTimeMs: number(f[13]),
    reason: f[14] ?? null,
  };
}
