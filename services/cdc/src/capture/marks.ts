/**
 * What the stream already holds of one lane: everything at or below `safeLsn`, and above it, per tenant, everything up to
 * its mark. The same record serves three ends: what a new reader drops (exact, without a window), what a reader that
 * reconnects drops, and the safe LSN that the next flush group tells its successors.
 */
import { LSN_ZERO, type Lsn } from '@drover/core';

export interface Mark {
  readonly lastLsn: Lsn;
  readonly part: number;
  readonly complete: boolean;
}

/** Parts of a tenant's transaction below this are in the stream already; ALL when the whole transaction is. */
export const ALL_PARTS = Number.POSITIVE_INFINITY;

export class Marks {
  #safeLsn: Lsn;
  readonly #perTenant: Map<string, Mark>;
  /** Highest LSN of a mark that was found in the stream. */
  readonly #foundUntil: Lsn;

  constructor(safeLsn: Lsn = LSN_ZERO, perTenant: ReadonlyMap<string, Mark> = new Map()) {
    this.#safeLsn = safeLsn;
    this.#perTenant = new Map(perTenant);
    this.#foundUntil = this.highest;
  }

  get safeLsn(): Lsn {
    return this.#safeLsn;
  }

  /** Highest LSN anything is marked with. */
  get highest(): Lsn {
    let highest = this.#safeLsn;
    for (const mark of this.#perTenant.values()) if (mark.lastLsn > highest) highest = mark.lastLsn;
    return highest;
  }

  /** Highest commit of which parts are missing; null: all are whole. */
  get incomplete(): Lsn | null {
    let highest: Lsn | null = null;
    for (const { lastLsn, complete } of this.#perTenant.values())
      if (!complete && (highest === null || lastLsn > highest)) highest = lastLsn;
    return highest;
  }

  /** How many parts of the tenant's share in the transaction committed at `commitLsn` to drop. */
  partsSent(token: string, commitLsn: Lsn): number {
    if (commitLsn <= this.#safeLsn) return ALL_PARTS;
    if (this.#perTenant.size === 0) return 0;
    const mark = this.#perTenant.get(token);
    if (mark === undefined || commitLsn > mark.lastLsn) return 0;
    if (commitLsn < mark.lastLsn || mark.complete) return ALL_PARTS;
    return mark.part + 1;
  }

  /**
   * All transactions of the lane that committed at or below `lsn` are in flush groups now. Until the marks that were found
   * are passed, the safe LSN stays: the groups published meanwhile continue the one that was found, marks and all.
   */
  advance(lsn: Lsn): void {
    if (lsn <= this.#safeLsn || lsn < this.#foundUntil) return;
    this.#safeLsn = lsn;
    for (const [token, mark] of this.#perTenant) if (mark.lastLsn <= lsn) this.#perTenant.delete(token);
  }

  /** How far the token has come. */
  of(token: string): Mark {
    return this.#perTenant.get(token) ?? { lastLsn: this.#safeLsn, part: 0, complete: true };
  }

  /** A block is in a flush group now. */
  note(token: string, mark: Mark): void {
    this.#perTenant.set(token, mark);
  }
}
