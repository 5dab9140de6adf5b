/**
 * Up to where the slot may be confirmed (I1): PostgreSQL sends every transaction again whose commit record starts at or
 * behind the confirmed LSN (snapbuild.c, SnapBuildXactNeedsSkip), so the start of the first commit record that is not
 * wholly acknowledged is the furthest safe place. With nothing pending, what the server says it has sent.
 */
import { LSN_MAX, LSN_ZERO, type Lsn, maxLsn } from '@drover/core';

export interface ConfirmState {
  /** Commit LSN of the transaction being received; null between transactions. */
  readonly openCommit: Lsn | null;
  /** Commit LSN of the earliest content that is not acknowledged, over all lanes; null: none. */
  readonly firstPending: Lsn | null;
  /** End of the last commit received. */
  readonly lastEnd: Lsn;
  /** walEnd of the last keepalive. */
  readonly keepaliveEnd: Lsn;
  /** Furthest WAL position seen on this connection: a begin names a commit that lies beyond. */
  readonly received: Lsn;
  /** Up to where those have come without whom nothing may be confirmed; LSN_MAX: nobody is waited for. */
  readonly applied: Lsn;
}

export function confirmable(state: ConfirmState): Lsn {
  const { openCommit, firstPending } = state;
  let lsn = maxLsn(state.lastEnd, state.keepaliveEnd);
  if (openCommit !== null || firstPending !== null)
    lsn = minLsn(openCommit ?? LSN_MAX, firstPending ?? LSN_MAX);
  return minLsn(minLsn(lsn, state.received), state.applied);
}

function minLsn(a: Lsn, b: Lsn): Lsn {
  return a < b ? a : b;
}

/** Hands out confirmations that only grow. */
export class Confirmer {
  #confirmed: Lsn = LSN_ZERO;

  get confirmed(): Lsn {
    return this.#confirmed;
  }

  /** The LSN to send, or null when there is nothing new. */
  next(state: ConfirmState): Lsn | null {
    const lsn = confirmable(state);
    if (lsn <= this.#confirmed) return null;
    this.#confirmed = lsn;
    return lsn;
  }
}
