/** WAL messages as they came, in order. Pure. */
import { must } from '@drover/core';

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

  /** By how much its capacity grows with a message of this length. */
  growth(length: number): number {
    const need = LENGTH_BYTES + length;
    const last = this.#segments.at(-1);
    if (last !== undefined && last.bytes.length - last.used >= need) return 0;
    if (need > SEGMENT_BYTES) return need;
    return last === undefined && need <= FIRST_BYTES ? FIRST_BYTES : SEGMENT_BYTES;
  }

  append(bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    const growth = this.growth(length);
    if (growth > 0) this.#grow(growth);
    const last = must(this.#segments.at(-1), 'segment');
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

  #grow(size: number): void {
    const used = size === SEGMENT_BYTES ? spare.pop() : undefined;
    this.#segments.push({ bytes: used ?? Buffer.allocUnsafeSlow(size), used: 0 });
    this.#capacity += size;
  }
}
