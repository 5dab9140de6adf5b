/**
 * From which sequence on the marks of a flush group must be read. Pure.
 *
 * A group's safe LSN says: everything at or below is in earlier groups. What lies above it may be partly in earlier groups too
 * (a long transaction is cut into parts, a reader begins anew behind another's marks), so the group reaches back to
 * the earliest message whose mark lies above the safe LSN. Then whoever resumes sees every mark that matters, and no block is sent twice.
 */
import type { Lsn } from '@drover/core';

/** Spans kept for each origin; beyond it the newest are merged, which only makes a group reach further back. */
const SPANS_MAX = 256;

interface Span {
  readonly firstSeq: number;
  maxLsn: Lsn;
}

export class FlushGroups {
  /** By origin; in each list both firstSeq and maxLsn grow. */
  readonly #spans = new Map<string, Span[]>();

  /** What the stream held when the publisher was opened. */
  resume(origin: string, firstSeq: number, maxLsn: Lsn): void {
    this.#note(origin, firstSeq, maxLsn);
  }

  /** Later groups do not reach back before this moment. */
  forget(origin: string): void {
    this.#spans.delete(origin);
  }

  /** First sequence of the group that begins at `firstSeq` and whose highest mark is `maxLsn`. */
  begin(origin: string, group: { firstSeq: number; safeLsn: Lsn; maxLsn: Lsn }): number {
    const spans = this.#spans.get(origin) ?? [];
    while (spans[0] !== undefined && spans[0].maxLsn <= group.safeLsn) spans.shift();
    const from = spans[0]?.firstSeq ?? group.firstSeq;
    this.#note(origin, group.firstSeq, group.maxLsn);
    return from;
  }

  #note(origin: string, firstSeq: number, maxLsn: Lsn): void {
    const spans = this.#spans.get(origin) ?? [];
    this.#spans.set(origin, spans);
    const last = spans.at(-1);
    if (last === undefined || spans.length < SPANS_MAX) {
      // A span that ends no higher than one before it is gone whenever that one is.
      if (last === undefined || maxLsn > last.maxLsn) spans.push({ firstSeq, maxLsn });
    } else if (maxLsn > last.maxLsn) {
      last.maxLsn = maxLsn;
    }
  }
}
