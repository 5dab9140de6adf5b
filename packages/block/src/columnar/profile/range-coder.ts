/**
 * A range coder: symbols take the fraction of bits their frequency is worth (after G. N. N. Martin 1979; carries as in LZMA). Trailing zero bytes
 * are not stored: a reader gets zeros beyond the end, so a damaged message decodes to something or is refused by who reads it, never hangs.
 */

/** Frequencies of one table add up to this many. */
export const TOTAL_BITS = 14;
export const TOTAL = 1 << TOTAL_BITS;
const TOP = 2 ** 32;
const BOTTOM = 2 ** 24;
/** Bits written at once without a table. */
const CHUNK_BITS = 16;

export class RangeEncoder {
  #bytes = Buffer.allocUnsafe(256);
  #size = 0;
  #low = 0;
  #range = TOP - 1;
  /** The byte a carry may still change, and how many 0xff follow it; the first is always 0 and not stored. */
  #held = 0;
  #pending = 0;
  #started = false;

  /** Ready for the next message. */
  reset(): void {
    this.#size = 0;
    this.#low = 0;
    this.#range = TOP - 1;
    this.#held = 0;
    this.#pending = 0;
    this.#started = false;
  }

  /** A symbol that has `frequency` of 2^`bits`, behind `start` of others. */
  put(start: number, frequency: number, bits: number): void {
    const unit = Math.floor(this.#range / 2 ** bits);
    this.#low += unit * start;
    this.#range = unit * frequency;
    while (this.#range < BOTTOM) {
      this.#range *= 256;
      this.#shift();
    }
  }

  /** The lowest `count` bits, 0 to 53, of a natural number. */
  putBits(value: number, count: number): void {
    let left = count;
    let rest = value;
    while (left > CHUNK_BITS) {
      left -= CHUNK_BITS;
      const high = Math.floor(rest / 2 ** left);
      this.put(high, 1, CHUNK_BITS);
      rest -= high * 2 ** left;
    }
    if (left > 0) this.put(rest, 1, left);
  }

  #shift(): void {
    if (this.#low < 0xff000000 || this.#low >= TOP) {
      const carry = this.#low >= TOP ? 1 : 0;
      if (this.#started) this.#byte(this.#held + carry);
      this.#started = true;
      for (; this.#pending > 0; this.#pending--) this.#byte(0xff + carry);
      this.#held = Math.floor(this.#low / BOTTOM) & 0xff;
    } else this.#pending++;
    this.#low = (this.#low % BOTTOM) * 256;
  }

  #byte(value: number): void {
    if (this.#size === this.#bytes.length) {
      const grown = Buffer.allocUnsafe(this.#size * 2);
      this.#bytes.copy(grown);
      this.#bytes = grown;
    }
    this.#bytes[this.#size++] = value;
  }

  /** All of the message; a view, valid until the next use. */
  finish(): Buffer {
    // Of all numbers in the interval the one with most zero bits at its end.
    const last = this.#low + this.#range - 1;
    for (let bits = 32; bits >= 0; bits--) {
      const unit = 2 ** bits;
      const value = Math.floor(last / unit) * unit;
      if (value < this.#low) continue;
      this.#low = value;
      break;
    }
    for (let i = 0; i < 5; i++) this.#shift();
    let size = this.#size;
    while (size > 0 && this.#bytes[size - 1] === 0) size--;
    return this.#bytes.subarray(0, size);
  }
}

export class RangeDecoder {
  readonly #bytes: Buffer;
  #at: number;
  #code = 0;
  #range = TOP - 1;
  #unit = 0;

  constructor(bytes: Buffer, start: number) {
    this.#bytes = bytes;
    this.#at = start;
    for (let i = 0; i < 4; i++) this.#code = this.#code * 256 + this.#next();
  }

  #next(): number {
    return this.#bytes[this.#at++] ?? 0;
  }

  /** Where among 2^`bits` the next symbol lies; to be followed by {@link take}. */
  peek(bits: number): number {
    this.#unit = Math.floor(this.#range / 2 ** bits);
    return Math.min(2 ** bits - 1, Math.floor(this.#code / this.#unit));
  }

  take(start: number, frequency: number): void {
    this.#code -= this.#unit * start;
    this.#range = this.#unit * frequency;
    while (this.#range < BOTTOM) {
      this.#range *= 256;
      // Beyond 32 bits only in damaged messages.
      this.#code = (this.#code * 256 + this.#next()) % (TOP * 256);
    }
  }

  bits(count: number): number {
    let left = count;
    let value = 0;
    while (left > CHUNK_BITS) {
      left -= CHUNK_BITS;
      value = value * 2 ** CHUNK_BITS + this.#chunk(CHUNK_BITS);
    }
    return left > 0 ? value * 2 ** left + this.#chunk(left) : value;
  }

  #chunk(bits: number): number {
    const value = this.peek(bits);
    this.take(value, 1);
    return value;
  }
}
