/** How long a transaction has waited for a backend, what for, and when that is too long. Pure. */
import type { WireError } from '../protocol/builders.ts';
import type { HoldReason } from '../routing/router.ts';

/** `busy`: in line for a connection. The others hold the tenant. */
export type WaitReason = HoldReason | 'busy';

const TEXT: Readonly<Record<HoldReason | 'unreachable', string>> = {
  moving: 'the tenant is being moved and its new cluster is not open yet',
  lease: 'this front door holds no lease and may not write',
  unplaced: 'no cluster serves this tenant now',
  stale: 'the cluster that should serve this tenant refuses its writes',
  unreachable: 'the cluster that serves this tenant does not answer',
};

export class Wait {
  /** When the wait began, `performance.now()`; 0: does not wait. */
  since = 0;
  reason: WaitReason = 'busy';
  /** When a hold, not mere queueing, began; 0: none has. */
  #heldSince = 0;

  begin(reason: WaitReason, now: number): void {
    if (this.since === 0) this.since = now;
    this.reason = reason;
    if (reason !== 'busy' && this.#heldSince === 0) this.#heldSince = now;
  }

  /** @returns how long it was held, milliseconds; null when it only stood in line, or not even that */
  end(now: number): number | null {
    const held = this.#heldSince > 0 ? now - this.#heldSince : null;
    this.since = 0;
    this.#heldSince = 0;
    return held;
  }

  /**
   * What to tell a client that has waited too long; null: it waits on.
   * @param limits milliseconds. @param unreachable the last attempt to connect to the cluster failed
   */
  overdue(
    now: number,
    limits: { readonly queueMs: number; readonly holdMs: number },
    unreachable: boolean,
  ): WireError | null {
    const { reason } = this;
    const held = reason === 'busy' ? (unreachable ? 'unreachable' : null) : reason;
    if (held !== null && this.#heldSince === 0) this.#heldSince = this.since;
    if (now - this.since < (held === null ? limits.queueMs : limits.holdMs)) return null;
    if (held === null) {
      return {
        severity: 'ERROR',
        code: '53300',
        message: 'no connection to the cluster became free in time',
      };
    }
    return { severity: 'ERROR', code: '57P03', message: TEXT[held], hint: 'Try again.' };
  }
}
