/**
 * What becomes of one block on this cluster: the decision table of docs/architecture.md ("Life of a change"). Pure and
 * total. The row is `drover.tenant` as read, and locked, inside the transaction that acts on the answer.
 */
import type { BlockHeader } from '@drover/block';
import type { TenantState } from './tenant-state.ts';

/** Which consumer brought the block: the partition's, or the tenant's own. */
export type Lane = 'main' | 'catchup';

export type Decision =
  /** Not held here: skipped, counted. */
  | { readonly kind: 'absent' }
  /** At or below the checkpoint: skipped, counted. */
  | { readonly kind: 'already' }
  | { readonly kind: 'apply' }
  /** Written under an ended epoch: to the ledger with its rows (I8). */
  | { readonly kind: 'stale'; readonly why: string }
  /** The row is behind a move: this and later blocks wait until it follows. */
  | { readonly kind: 'hold'; readonly reason: string }
  /** Replayed later from the row's stream_seq. */
  | { readonly kind: 'wait' }
  /** The main lane hands the tenant to a lane of its own: a transaction of several parts, or one whose parts stand earlier in the stream. */
  | { readonly kind: 'demote' }
  /** The row's position means nothing in this stream: parked until it is copied anew. */
  | { readonly kind: 'resync'; readonly why: string };

export interface Seen {
  readonly header: Pick<
    BlockHeader,
    'source' | 'epoch' | 'systemId' | 'generation' | 'lastLsn' | 'part' | 'complete' | 'streamed'
  >;
  readonly stream: string;
  readonly seq: number;
}

export function decide(row: TenantState | undefined, block: Seen, lane: Lane): Decision {
  if (row === undefined) return { kind: 'absent' };
  const { header } = block;
  if (isBehindCheckpoint(row, block)) return { kind: 'already' };
  if (header.epoch < row.epoch) {
    return { kind: 'stale', why: `written under epoch ${header.epoch}, the tenant is at ${row.epoch}` };
  }
  if (header.epoch > row.epoch) return { kind: 'hold', reason: `epoch:${header.epoch}` };
  if (row.role === 'primary') {
    return {
      kind: 'stale',
      why: `written on ${header.source} under epoch ${header.epoch}, whose primary is here`,
    };
  }
  if (row.source !== header.source) {
    return {
      kind: 'stale',
      why: `written on ${header.source}, the tenant follows ${row.source ?? 'nobody'}`,
    };
  }
  if (row.feed !== 'live' && row.feed !== 'catchup') return { kind: 'wait' };
  if (row.feed !== (lane === 'main' ? 'live' : 'catchup')) return { kind: 'wait' };
  if (row.systemId !== null && row.systemId !== header.systemId) {
    return {
      kind: 'resync',
      why: `the source's system identifier is ${header.systemId}, it was ${row.systemId}`,
    };
  }
  if (row.generation !== null && row.generation !== header.generation) {
    if (header.generation < row.generation) return { kind: 'already' };
    return {
      kind: 'resync',
      why: `the source's slot was created anew (generation ${header.generation}, was ${row.generation})`,
    };
  }
  const inParts = !header.complete || header.part > 0 || header.streamed !== undefined;
  if (lane === 'main' && inParts) return { kind: 'demote' };
  return { kind: 'apply' };
}

/** Was the block dealt with before? By the stream's own order, or by the position in the source's WAL. */
function isBehindCheckpoint(row: TenantState, { header, stream, seq }: Seen): boolean {
  if (row.stream === stream && row.streamSeq !== null && seq <= row.streamSeq) return true;
  if (row.systemId !== header.systemId || row.generation !== header.generation || row.commitLsn === null)
    return false;
  // The checkpoint moves past a transaction of several parts only when all of them are in, so parts need no comparing.
  return header.lastLsn <= row.commitLsn;
}

/** A held tenant goes on by itself once the row has followed the move that held it. */
export function mayResume(row: TenantState): boolean {
  if (row.role !== 'replica' || row.feed !== 'held' || row.reason === null) return false;
  const held = /^epoch:(\d+)$/.exec(row.reason);
  return held?.[1] !== undefined && row.epoch >= Number(held[1]);
}
