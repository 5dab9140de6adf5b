/**
 * A run of messages on its way through: what stays is passed on as it came, pieces are left out or put in. Nothing is copied, and nothing
 * allocated while nothing is changed.
 */
const EMPTY = Buffer.alloc(0);

export class Splice {
  #source: Buffer = EMPTY;
  #from = 0;
  readonly #out: Buffer[] = [];

  begin(source: Buffer): void {
    this.#source = source;
    this.#from = 0;
    this.#out.length = 0;
  }

  /** In place of what is between the two offsets, nothing. */
  drop(start: number, end: number): void {
    if (start > this.#from) this.#out.push(this.#source.subarray(this.#from, start));
    this.#from = end;
  }

  /** In place of what is between the two offsets, `piece`; with equal offsets it is put in there. */
  put(start: number, end: number, piece: Buffer): void {
    this.drop(start, end);
    this.#out.push(piece);
  }

  /** All up to the offset, in one buffer; null when there is nothing. Ends the splice. */
  finish(end: number): Buffer | null {
    const source = this.#source;
    this.#source = EMPTY;
    const out = this.#out;
    if (this.#from === 0 && end === source.length && out.length === 0) return source;
    if (end > this.#from) out.push(source.subarray(this.#from, end));
    const [first] = out;
    const whole = out.length > 1 ? Buffer.concat(out) : first;
    out.length = 0;
    return whole ?? null;
  }
}
