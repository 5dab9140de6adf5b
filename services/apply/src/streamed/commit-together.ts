/**
 * The end of a transaction that was kept open: the tenants' rows are locked, each tenant is asked whether it is where it was, and their checkpoints
 * are committed with what was written; for all of them or for none.
 */
import type { Epoch } from '@drover/core';
import type { BatchResult, Target } from '../apply/batch.ts';
import { type StreamPosition, writePosition, writeStates } from '../apply/checkpoint.ts';
import type { Routed, Work } from '../apply/route.ts';
import type { EarlyHeader, Entry } from '../changes/entry.ts';
import { decide, type Lane } from '../decide/decide.ts';
import { parseTenantState, TENANT_COLUMNS, type TenantState } from '../decide/tenant-state.ts';
import { arrayLiteral } from '../target/array-literal.ts';

/** As the reader writes it (services/cdc, capture/streamed.ts). */
const TOGETHER_PREFIX = 'drover.together';

export interface Together {
  /** Where the lane's own commit stands, and what its header says. */
  readonly entry: Entry;
  readonly header: EarlyHeader;
  /** Whose rows were written. */
  readonly tenants: readonly string[];
  readonly rows: number;
}

export interface CommitSide {
  /** Who feeds the tenants now. */
  readonly lane: Lane;
  /** Of the main lane, when it commits; null: it has gone on. */
  readonly position: StreamPosition | null;
}

/** Null: some tenant is not where it was; nothing is committed, and the transaction is still open. */
export async function commitTogether(
  target: Target,
  together: Together,
  { lane, position }: CommitSide,
): Promise<BatchResult | null> {
  const { session, stream } = target;
  const { entry, header, tenants } = together;
  const epochs = epochsOf(entry);
  const rows = await session.rows(
    `SELECT ${TENANT_COLUMNS} FROM drover.tenant WHERE tenant = ANY ($1::text[]) ORDER BY tenant FOR NO KEY UPDATE`,
    [arrayLiteral(tenants)],
  );
  const states = new Map(rows.map((fields) => [fields[0] ?? '', parseTenantState(fields)]));
  for (const tenant of tenants) {
    const epoch = epochs.get(tenant);
    const state = states.get(tenant);
    if (epoch === undefined || state === undefined || !isFree(state, header)) return null;
    const { streamed: _, ...plain } = header;
    // A lane of its own stands right before the tenant's own commit, which is behind this one: there only the commit's LSN tells.
    const seq = lane === 'main' ? entry.seq : Number.MAX_SAFE_INTEGER;
    const seen = { header: { ...plain, epoch }, stream, seq };
    if (decide(state, seen, lane).kind !== 'apply') return null;
    if (lane === 'catchup' && !isAtCommit(state, stream, entry)) return null;
    moveOn(state, entry, header, position === null ? null : stream);
  }
  const flight = session.flight();
  writeStates(session, flight, [...states.values()]);
  if (position !== null) writePosition(flight, target, position);
  flight.statement('COMMIT');
  await session.send(flight);
  session.committed();
  return {
    ...routedOf([], tenants),
    states,
    rows: together.rows,
    transactions: tenants.length,
    counts: new Map([['streamed', tenants.length]]),
  };
}

/** Its lane stands right before its own commit: it was handed over there, not by something before this commit that is still to be applied. */
function isAtCommit(state: TenantState, stream: string, { seq }: Entry): boolean {
  return state.stream === stream && state.streamSeq !== null && state.streamSeq >= seq;
}

/** No operator has decided to pass over it, and no copy may have brought its rows. */
function isFree({ skipLsn, lenientUntil }: TenantState, { lastLsn }: EarlyHeader): boolean {
  return skipLsn !== lastLsn && (lenientUntil === null || lenientUntil < lastLsn);
}

function moveOn(state: TenantState, entry: Entry, header: EarlyHeader, stream: string | null): void {
  state.systemId = header.systemId;
  state.generation = header.generation;
  state.commitLsn = header.lastLsn;
  state.part = 0;
  state.commitTimeMs = Number(header.commitTimeUs / 1000n) + 946_684_800_000;
  if (stream === null) return;
  state.streamSeq = state.stream === stream ? Math.max(state.streamSeq ?? 0, entry.seq) : entry.seq;
  state.stream = stream;
}

/** Of each tenant that has rows in the transaction. */
function epochsOf(entry: Entry): Map<string, Epoch> {
  for (const { messages } of entry.block?.transactions ?? []) {
    for (const { prefix, content } of messages) {
      if (prefix !== TOGETHER_PREFIX) continue;
      const { tenants } = JSON.parse(content) as { tenants: [string, Epoch][] };
      return new Map(tenants);
    }
  }
  return new Map();
}

export function routedOf(work: readonly Work[], tenants: readonly string[]): Routed {
  return {
    work,
    tenants,
    notes: [],
    barriers: [],
    dirty: new Set(),
    demoted: [],
    paused: [],
    parked: [],
    held: [],
    counts: new Map(),
    transactions: 0,
    heartbeatMs: null,
  };
}
