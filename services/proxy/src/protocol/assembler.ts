/**
 * Cuts the client's byte stream into runs of whole messages (type byte, int32 length). Pure. A chunk that holds only whole
 * messages is handed on as it is, without a copy; an incomplete tail is kept and joined once, when it is complete.
 */
export class FramingError extends Error {}

export class Assembler {
  #parts: Buffer[] = [];
  #have = 0;
  #need = 0;
  readonly #maxBytes: number;

  /** @param maxBytes the largest message taken, header included; above it {@link push} throws. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes of an incomplete message kept now. */
  get kept(): number {
    return this.#have;
  }

  /** @returns whole messages in one buffer, or null when none is complete. @throws FramingError on an impossible length. */
  push(chunk: Buffer): Buffer | null {
    let bytes = chunk;
    if (this.#have > 0) {
      this.#parts.push(chunk);
      this.#have += chunk.length;
      if (this.#have < this.#need) return null;
      bytes = Buffer.concat(this.#parts, this.#have);
      this.#parts = [];
      this.#have = 0;
    }
    const length = bytes.length;
    let at = 0;
    while (at + 5 <= length) {
      const size = bytes.readUInt32BE(at + 1);
      if (size < 4) throw new FramingError(`message length ${size}`);
      if (size + 1 > this.#maxBytes) throw new FramingError(`message of ${size} bytes`);
      if (at + 1 + size > length) break;
      at += 1 + size;
    }
    if (at === length) return bytes;
    const rest = bytes.subarray(at);
    this.#parts.push(rest);
    this.#have = rest.length;
    this.#need = rest.length < 5 ? 5 : 1 + rest.readUInt32BE(1);
    return at === 0 ? null : bytes.subarray(0, at);
  }
}

/** Offset of the NUL that ends the text at `at`, or -1. */
export function cstringEnd(bytes: Buffer, at: number, end: number): number {
  const found = bytes.indexOf(0, at);
  return found === -1 || found >= end ? -1 : found;
}
