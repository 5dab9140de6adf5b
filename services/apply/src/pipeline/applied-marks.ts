/**
 * Up to which commit of the source everything is applied, told by the position in the stream: a message says which commits stand before it
 * (its safe LSN), and what stands before a position is dealt with. Pure; bounded.
 */
import type { Lsn } from '@drover/core';

export interface AppliedMark {
  /** Who has dealt with everything up to this sequence… */
  readonly seq: number;
  /** …has dealt with every commit at or below this. */
  readonly lsn: Lsn;
}

/** While a tenant catches up marks collect; beyond this every second one goes. */
const MARKS_MAX = 1024;

export class AppliedMarks {
  /** Both fields grow. */
  #marks: AppliedMark[] = [];

  /** A message whose first piece stands at `firstSeq` says `safeLsn`. */
  note(firstSeq: number, safeLsn: Lsn): void {
    const last = this.#marks.at(-1);
    if (last !== undefined && safeLsn <= last.lsn) return;
    this.#marks.push({ seq: firstSeq - 1, lsn: safeLsn });
    if (this.#marks.length > MARKS_MAX)
      this.#marks = this.#marks.filter((_, i) => i % 2 === 1 || i === this.#marks.length - 1);
  }

  /** The newest one that holds for whoever has dealt with everything up to `seq`; older ones are forgotten. */
  take(seq: number): AppliedMark | null {
    let found: AppliedMark | null = null;
    while (this.#marks[0] !== undefined && this.#marks[0].seq <= seq) found = this.#marks.shift() ?? null;
    return found;
  }

  clear(): void {
    this.#marks = [];
  }

  get size(): number {
    return this.#marks.length;
  }
}
