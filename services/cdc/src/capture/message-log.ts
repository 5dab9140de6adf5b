/** WAL messages as they came, in order. Pure. */

/** Of the first segment: many transactions are small. */
const FIRST_BYTES = 8 * 1024;
const SEGMENT_BYTES = 64 * 1024;
const LENGTH_BYTES = 4;
/** Segments of all logs of the process that are used again. */
const SPARE_MAX = 512;
const spare: Buffer[] = [];

export class MessageLog {
  readonly #segments: { readonly bytes: Buffer; used: number }[] = [];
  #capacity = 0;

  /** Bytes it holds on to. */
  get capacity(): number {
    return this.#capacity;
  }

  append(bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    let last = this.#segments.at(-1);
    if (last === undefined || last.bytes.length - last.used < LENGTH_BYTES + length) {
      last = { bytes: this.#segment(LENGTH_BYTES + length), used: 0 };
      this.#segments.push(last);
      this.#capacity += last.bytes.length;
    }
    last.bytes.writeUInt32BE(length, last.used);
    bytes.copy(last.bytes, last.used + LENGTH_BYTES, start, end);
    last.used += LENGTH_BYTES + length;
  }

  /** What `read` is given is valid until {@link clear}. */
  forEach(read: (bytes: Buffer, start: number, end: number) => void): void {
    for (const { bytes, used } of this.#segments) {
      for (let at = 0; at < used; ) {
        const start = at + LENGTH_BYTES;
        at = start + bytes.readUInt32BE(at);
        read(bytes, start, at);
      }
    }
  }

  clear(): void {
    for (const { bytes } of this.#segments)
      if (bytes.length === SEGMENT_BYTES && spare.length < SPARE_MAX) spare.push(bytes);
    this.#segments.length = 0;
    this.#capacity = 0;
  }

  #segment(atLeast: number): Buffer {
    if (atLeast > SEGMENT_BYTES) return Buffer.allocUnsafeSlow(atLeast);
    if (this.#segments.length === 0 && atLeast <= FIRST_BYTES) return Buffer.allocUnsafeSlow(FIRST_BYTES);
    return spare.pop() ?? Buffer.allocUnsafeSlow(SEGMENT_BYTES);
  }
}
