/**
 * How long the main lane waits at a commit for what its transaction has left to write. Meanwhile the others of the partition wait; and not to wait means a
 * lane of its own for each tenant of the transaction, which costs the more the more they are: for a thousand tenants several seconds. Pure.
 */

/** Passed by the main lane and not written yet. */
export interface LeftToWrite {
  readonly parts: number;
  /** As they are stored. */
  readonly bytes: number;
}

const INLINE_MS = 50;
const HAND_OVER_MS = 20;
/** Others of the partition wait meanwhile, however many tenants it has. */
const WAIT_MS_MAX = 5000;
/** So much is always worth to be waited for. */
const FEW_PARTS = 4;
/** What a busy machine writes. */
const BYTES_PER_MS = 8 * 1024;
const MS_PER_PART = 0.5;

/** 0: what is left takes longer than handing the tenants over. */
export function patienceMs({ parts, bytes }: LeftToWrite, tenants: number): number {
  const ms = Math.min(WAIT_MS_MAX, INLINE_MS + HAND_OVER_MS * tenants);
  const neededMs = bytes / BYTES_PER_MS + parts * MS_PER_PART;
  return parts <= FEW_PARTS || neededMs <= ms ? ms : 0;
}
