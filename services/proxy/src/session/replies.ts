/**
 * What a backend still owes, in order: one entry per message sent that will be answered. It tells which replies are the
 * client's, which are the proxy's own (swallowed), and when a transaction's backend is free. Pure data structure, no object per entry.
 */
export const ENTRY = {
  parse: 1,
  bind: 2,
  close: 3,
  describe: 4,
  execute: 5,
  sync: 6,
  query: 7,
  /** A reply the proxy forges in its place: ParseComplete. */
  localParse: 8,
  /** CloseComplete, forged. */
  localClose: 9,
  /** The client ended its COPY data; answered by nothing. */
  copyEnd: 10,
} as const;

/** Added to an entry whose replies are not for the client. */
export const SWALLOW = 64;
/** Added to an entry the client never asked for: swallowed, and not counted as an answer. */
export const OWN = 128;
export const KIND = 63;

export class Replies {
  #codes: number[] = [];
  #payloads: unknown[] = [];
  #head = 0;

  get empty(): boolean {
    return this.#head === this.#codes.length;
  }

  get length(): number {
    return this.#codes.length - this.#head;
  }

  /** Code of the oldest entry, 0 when there is none. */
  get head(): number {
    return this.#codes[this.#head] ?? 0;
  }

  get payload(): unknown {
    return this.#payloads[this.#head];
  }

  push(code: number, payload?: unknown): void {
    this.#codes.push(code);
    this.#payloads.push(payload);
  }

  shift(): void {
    this.#payloads[this.#head] = undefined;
    this.#head++;
    if (this.#head === this.#codes.length) this.clear();
    else if (this.#head > 1024) this.#compact();
  }

  clear(): void {
    if (this.#codes.length > 0) {
      this.#codes.length = 0;
      this.#payloads.length = 0;
    }
    this.#head = 0;
  }

  /**
   * The server went into copy-in mode for the Execute at the head: it ignores Sync until the copy ends.
   * @returns whether the end of the copy data has been sent already.
   */
  startCopyIn(): boolean {
    for (let i = this.#head + 1; i < this.#codes.length; i++) {
      const kind = (this.#codes[i] ?? 0) & KIND;
      if (kind === ENTRY.copyEnd) return true;
      if (kind === ENTRY.sync) {
        this.#codes.splice(i, 1);
        this.#payloads.splice(i, 1);
        i--;
      }
    }
    return false;
  }

  /** Whether a Sync or Query is owed: then a ReadyForQuery will come without the client doing more. */
  get ready(): boolean {
    for (let i = this.#head; i < this.#codes.length; i++) {
      const kind = (this.#codes[i] ?? 0) & KIND;
      if (kind === ENTRY.sync || kind === ENTRY.query) return true;
    }
    return false;
  }

  #compact(): void {
    this.#codes = this.#codes.slice(this.#head);
    this.#payloads = this.#payloads.slice(this.#head);
    this.#head = 0;
  }
}
