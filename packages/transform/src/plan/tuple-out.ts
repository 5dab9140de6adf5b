/** Where new tuples are written: one buffer, kept and grown. */
export class TupleOut {
  /** Replaced when it grows; valid up to {@link at}. */
  bytes: Buffer;
  at = 0;

  constructor(initialBytes = 4096) {
    this.bytes = Buffer.allocUnsafe(initialBytes);
  }

  /** Forgets what was written, and a buffer that one huge row had grown. */
  reset(keepBytesMax = Number.POSITIVE_INFINITY): void {
    this.at = 0;
    if (this.bytes.length > keepBytesMax) this.bytes = Buffer.allocUnsafe(4096);
  }

  width(columns: number): void {
    this.#reserve(2);
    this.at = this.bytes.writeUInt16BE(columns, this.at);
  }

  copy(from: Buffer, start: number, end: number): void {
    this.#reserve(end - start);
    from.copy(this.bytes, this.at, start, end);
    this.at += end - start;
  }

  cell(kind: number, value: Buffer): void {
    this.#reserve(5 + value.length);
    this.bytes[this.at] = kind;
    this.bytes.writeUInt32BE(value.length, this.at + 1);
    value.copy(this.bytes, this.at + 5);
    this.at += 5 + value.length;
  }

  #reserve(more: number): void {
    const need = this.at + more;
    if (need <= this.bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(need, this.bytes.length * 2));
    this.bytes.copy(grown, 0, 0, this.at);
    this.bytes = grown;
  }
}
