/**
 * Cuts the byte stream of a backend into protocol messages (Int8 type, Int32 length including itself, payload), split
 * over reads as they may be. Messages inside one read are handed out in place; only what a read leaves unfinished is
 * copied, into a buffer that grows with the bytes that really came, never with a length that was merely declared.
 */
import { malformed } from '../pgoutput/bytes.ts';

/** Payload of one message: `bytes[start, end)`, valid during the call. */
export interface FrameSink {
  frame(type: number, bytes: Buffer, start: number, end: number): void;
}

/** PostgreSQL builds messages in buffers of at most 1 GB (MaxAllocSize). */
export const FRAME_BYTES_MAX = 0x4000_0000;

const HEADER = 5;
/** What is kept between messages; a larger buffer is let go after use. */
const CARRY_BYTES_KEPT = 256 * 1024;

export class FrameReader {
  readonly #sink: FrameSink;
  #carry = Buffer.allocUnsafeSlow(64 * 1024);
  /** Bytes of an unfinished message in #carry. */
  #have = 0;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** @throws DroverError `pg.stream` on an impossible length, and what the sink throws; not usable after that. */
  push(chunk: Buffer): void {
    let at = this.#have === 0 ? 0 : this.#complete(chunk);
    const length = chunk.length;
    while (length - at >= HEADER) {
      const end = at + 1 + frameLength(chunk, at);
      if (end > length) break;
      this.#sink.frame(chunk[at] as number, chunk, at + HEADER, end); // in bounds
      at = end;
    }
    if (at < length) this.#keep(chunk, at, length - at);
  }

  /** Adds to the unfinished message; hands it out when whole. Returns how much of the chunk it took. */
  #complete(chunk: Buffer): number {
    let at = 0;
    if (this.#have < HEADER) {
      at = Math.min(HEADER - this.#have, chunk.length);
      this.#keep(chunk, 0, at);
      if (this.#have < HEADER) return at;
    }
    const total = 1 + frameLength(this.#carry, 0);
    const count = Math.min(total - this.#have, chunk.length - at);
    this.#keep(chunk, at, count);
    if (this.#have < total) return at + count;
    const carry = this.#carry;
    this.#sink.frame(carry[0] as number, carry, HEADER, total); // in bounds
    this.#have = 0;
    if (carry.length > CARRY_BYTES_KEPT) this.#carry = Buffer.allocUnsafeSlow(64 * 1024);
    return at + count;
  }

  #keep(chunk: Buffer, at: number, count: number): void {
    const have = this.#have + count;
    if (have > this.#carry.length) {
      const larger = Buffer.allocUnsafeSlow(
        Math.min(Math.max(have, this.#carry.length * 2), FRAME_BYTES_MAX + 1),
      );
      this.#carry.copy(larger, 0, 0, this.#have);
      this.#carry = larger;
    }
    chunk.copy(this.#carry, this.#have, at, at + count);
    this.#have = have;
  }
}

function frameLength(bytes: Buffer, at: number): number {
  const length = bytes.readUInt32BE(at + 1);
  if (length < 4 || length > FRAME_BYTES_MAX) throw malformed(`a message of ${length} bytes`);
  return length;
}
