/** A growable buffer of frontend messages (manual, 54.7). Kept between flights; numbers are written big-endian. */

const INITIAL_BYTES = 64 * 1024;
/** A buffer grown beyond this by one huge row is let go of. */
const KEEP_BYTES = 32 * 1024 * 1024;
const COPY_INLINE_BYTES = 40;

export class Out {
  bytes: Buffer = Buffer.allocUnsafe(INITIAL_BYTES);
  at = 0;
  #message = 0;

  reserve(more: number): void {
    const need = this.at + more;
    if (need <= this.bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(need, this.bytes.length * 2));
    this.bytes.copy(grown, 0, 0, this.at);
    this.bytes = grown;
  }

  begin(type: number): void {
    this.reserve(5);
    this.bytes[this.at] = type;
    this.#message = this.at + 1;
    this.at += 5;
  }

  end(): void {
    this.bytes.writeInt32BE(this.at - this.#message, this.#message);
  }

  int16(value: number): void {
    this.reserve(2);
    const { bytes, at } = this;
    bytes[at] = value >> 8;
    bytes[at + 1] = value;
    this.at = at + 2;
  }

  int32(value: number): void {
    this.reserve(4);
    const { bytes, at } = this;
    bytes[at] = value >> 24;
    bytes[at + 1] = value >> 16;
    bytes[at + 2] = value >> 8;
    bytes[at + 3] = value;
    this.at = at + 4;
  }

  cstring(text: string): void {
    this.reserve(text.length * 3 + 1);
    this.at += this.bytes.write(text, this.at);
    this.bytes[this.at++] = 0;
  }

  /** Copies `from[start, end)`. */
  copy(from: Buffer, start: number, end: number): void {
    this.reserve(end - start);
    this.at = copyRun(from, start, end, this.bytes, this.at);
  }

  reset(): void {
    this.at = 0;
    if (this.bytes.length > KEEP_BYTES) this.bytes = Buffer.allocUnsafe(INITIAL_BYTES);
  }
}

/** Copies `from[start, end)` to where there is room for it; short runs without a call into native code. @returns the end of what is there now */
export function copyRun(from: Buffer, start: number, end: number, to: Buffer, at: number): number {
  const length = end - start;
  if (length <= COPY_INLINE_BYTES) for (let i = 0; i < length; i++) to[at + i] = from[start + i] as number;
  else from.copy(to, at, start, end);
  return at + length;
}
