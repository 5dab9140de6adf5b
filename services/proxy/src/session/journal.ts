/**
 * The client's bytes since its transaction began, kept so that a transaction that was refused before it did anything (SQLSTATE
 * DR001: the tenant moved away) can begin again elsewhere. Bounded: what does not fit cannot be replayed and fails with 40001.
 */
const JOURNAL_BYTES_MAX = 64 * 1024;

export class Journal {
  /** Runs of bytes; null marks the end of a segment (behind a Sync or Query). */
  #runs: (Buffer | null)[] = [];
  #bytes = 0;
  #broken = false;
  /** ReadyForQuery seen since the last idle one. */
  #readied = 0;

  get replayable(): boolean {
    return !this.#broken;
  }

  push(run: Buffer, endsSegment: boolean): void {
    if (this.#broken) return;
    this.#bytes += run.length;
    if (this.#bytes > JOURNAL_BYTES_MAX) {
      this.break();
      return;
    }
    this.#runs.push(run);
    if (endsSegment) this.#runs.push(null);
  }

  /** From now on, until the backend is free, nothing can be replayed. */
  break(): void {
    this.#broken = true;
    this.#runs = [];
    this.#bytes = 0;
  }

  /** A ReadyForQuery inside a transaction. */
  ready(): void {
    this.#readied++;
  }

  /** A ReadyForQuery outside: what belonged to the transaction is done with; what was pipelined behind it stays. */
  readyIdle(last: boolean): void {
    if (last) {
      this.clear();
      return;
    }
    let drop = this.#readied + 1;
    this.#readied = 0;
    while (drop > 0 && this.#runs.length > 0) {
      const run = this.#runs.shift();
      if (run === null) drop--;
      else this.#bytes -= run?.length ?? 0;
    }
  }

  clear(): void {
    if (this.#runs.length > 0) this.#runs = [];
    this.#bytes = 0;
    this.#broken = false;
    this.#readied = 0;
  }

  /** The bytes in order; the journal is empty afterwards. */
  drain(): Buffer[] {
    const runs = this.#runs.filter((run) => run !== null);
    this.clear();
    return runs;
  }
}
