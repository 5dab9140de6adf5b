/**
 * How much of a copy is done. Pure. Rows only grow, never pass the total, and end at it: the total is what was copied plus what the present
 * snapshot still holds, so rows that came or went between two attempts are neither missing nor too many.
 */
export class Tally {
  #rows = 0;
  #total = 0;

  get rows(): number {
    return this.#rows;
  }

  get total(): number {
    return this.#total;
  }

  /** A pass begins, or is taken up: `copied` rows by this copy so far, `left` to be read. */
  begin(copied: number, left: number): void {
    this.#rows = Math.max(this.#rows, copied);
    this.#total = this.#rows + left;
  }

  add(rows: number): void {
    this.#rows += rows;
    this.#total = Math.max(this.#total, this.#rows);
  }
}
