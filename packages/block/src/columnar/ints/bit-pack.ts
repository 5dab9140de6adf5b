/** Natural numbers side by side in as many bits as the widest needs, lowest bit first. */
import type { ByteReader, ByteWriter } from '../bytes.ts';
import { Scratch, scratch } from '../scratch.ts';
import { viewOf } from '../views.ts';

/** One accumulator of 32 bits holds this many and up to 7 left over from before. */
export const PASS_BITS = 24;
export const PASS = 2 ** PASS_BITS;

export function packedBytes(count: number, width: number): number {
  const passes = Math.floor(width / PASS_BITS);
  return passes * Math.ceil((count * PASS_BITS) / 8) + Math.ceil((count * (width - passes * PASS_BITS)) / 8);
}

/** `values[0 .. count)` below 2^width; width up to 53. Wider than 24 bits: the low 24 of all, then the rest of all. */
export function packBits(values: Float64Array, count: number, width: number, out: ByteWriter): void {
  let rest = values;
  let left = width;
  while (left > PASS_BITS) {
    packPass(rest, count, PASS_BITS, out);
    const highs = scratch(Scratch.highs, count);
    for (let i = 0; i < count; i++) highs[i] = Math.floor((rest[i] as number) / PASS);
    rest = highs;
    left -= PASS_BITS;
  }
  if (left > 0) packPass(rest, count, left, out);
}

function packPass(values: Float64Array, count: number, width: number, out: ByteWriter): void {
  out.reserve(Math.ceil((count * width) / 8) + 4);
  const bytes = out.bytes;
  const mask = 2 ** width - 1;
  let at = out.size;
  let accumulator = 0;
  let have = 0;
  for (let i = 0; i < count; i++) {
    accumulator |= ((values[i] as number) & mask) << have;
    have += width;
    while (have >= 8) {
      bytes[at++] = accumulator;
      accumulator >>>= 8;
      have -= 8;
    }
  }
  if (have > 0) bytes[at++] = accumulator;
  out.size = at;
}

/** The inverse, into `out[0 .. count)`. @throws DroverError `block.corrupt` when the bytes do not suffice */
export function unpackBits(source: ByteReader, count: number, width: number, out: Float64Array): void {
  let scale = 1;
  let left = width;
  out.fill(0, 0, count);
  while (left > 0) {
    const pass = left > PASS_BITS ? PASS_BITS : left;
    const start = source.take(Math.ceil((count * pass) / 8));
    if (scale === 1) unpackPass(source.bytes, start, count, pass, out);
    else addPass(source.bytes, start, count, pass, out, scale);
    scale *= PASS;
    left -= pass;
  }
}

function unpackPass(bytes: Buffer, start: number, count: number, width: number, out: Float64Array): void {
  const view = viewOf(bytes);
  const mask = (1 << width) - 1;
  let bit = start * 8;
  // A word may reach past the last byte only for the values at the end.
  const whole = Math.min(count, Math.max(0, Math.floor(((bytes.length - 4) * 8 - bit) / width) + 1));
  for (let i = 0; i < whole; i++) {
    out[i] = (view.getInt32(bit >>> 3, true) >>> (bit & 7)) & mask;
    bit += width;
  }
  for (let i = whole; i < count; i++) {
    out[i] = (lastWord(bytes, bit >>> 3) >>> (bit & 7)) & mask;
    bit += width;
  }
}

/** Little-endian; past the end of the buffer is 0. */
function lastWord(bytes: Buffer, at: number): number {
  let word = 0;
  for (let byte = Math.min(3, bytes.length - 1 - at); byte >= 0; byte--) {
    word = (word << 8) | (bytes[at + byte] as number);
  }
  return word;
}

/** Numbers of up to {@link PASS_BITS} bits of any widths, one after the other. */
export class BitReader {
  readonly #bytes: Buffer;
  readonly #view: DataView;
  #bit: number;

  /** @throws DroverError `block.corrupt` when there are not so many bits */
  constructor(source: ByteReader, bits: number) {
    this.#bytes = source.bytes;
    this.#view = viewOf(source.bytes);
    this.#bit = source.take(Math.ceil(bits / 8)) * 8;
  }

  take(width: number): number {
    const bit = this.#bit;
    const at = bit >>> 3;
    const word = at + 4 <= this.#bytes.length ? this.#view.getInt32(at, true) : lastWord(this.#bytes, at);
    this.#bit = bit + width;
    return (word >>> (bit & 7)) & ((1 << width) - 1);
  }
}

function addPass(
  bytes: Buffer,
  start: number,
  count: number,
  width: number,
  out: Float64Array,
  scale: number,
): void {
  const highs = scratch(Scratch.highs, count);
  unpackPass(bytes, start, count, width, highs);
  for (let i = 0; i < count; i++) out[i] = (out[i] as number) + (highs[i] as number) * scale;
}
