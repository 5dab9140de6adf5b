/**
 * How often each token stands, written in few bits: rounded to a power of two and two more bits, then scaled so that all add up to
 * {@link TOTAL}. Writer and reader scale with the same whole numbers, so both hold the same table.
 */

import { corrupt } from '../../header.ts';
import type { ByteReader, ByteWriter } from '../bytes.ts';
import { TOKENS } from './tokens.ts';

export const TOTAL_BITS = 12;
export const TOTAL = 2 ** TOTAL_BITS;
/** Codes: 0 absent, 1 to 13 one plus the power of two, 14 a run of 3 to 18 absent. */
const RUN = 14;
const RUN_MIN = 3;
const CODE_BITS = 4;

const weights = new Uint16Array(TOKENS);

/** Writes the table of `histogram[0 .. highest]` and leaves what a reader will see in `frequencies`. */
export function writeFrequencies(
  histogram: Uint32Array,
  highest: number,
  count: number,
  frequencies: Uint16Array,
  out: ByteWriter,
): void {
  const bits = new BitSink(out);
  out.u8(highest);
  weights.fill(0);
  for (let token = 0; token <= highest; ) {
    const times = histogram[token] as number;
    if (times > 0) {
      const scaled = Math.max(1, Math.floor((times * TOTAL) / count));
      const power = 31 - Math.clz32(scaled);
      const fine = Math.min(power, 2);
      bits.put(power + 1, CODE_BITS);
      const head = scaled >>> (power - fine);
      bits.put(head & ((1 << fine) - 1), fine);
      weights[token++] = head << (power - fine);
      continue;
    }
    let run = 1;
    while (run < RUN_MIN + 15 && histogram[token + run] === 0) run++;
    if (run >= RUN_MIN) {
      bits.put(RUN, CODE_BITS);
      bits.put(run - RUN_MIN, CODE_BITS);
      token += run;
    } else {
      bits.put(0, CODE_BITS);
      token++;
    }
  }
  bits.flush();
  scale(highest, frequencies);
}

/** @returns the highest token. @throws DroverError `block.corrupt` */
export function readFrequencies(source: ByteReader, frequencies: Uint16Array): number {
  const highest = source.u8();
  const bits = new BitSource(source);
  weights.fill(0);
  for (let token = 0; token <= highest; ) {
    const code = bits.get(CODE_BITS);
    if (code === 0) token++;
    else if (code === RUN) token += RUN_MIN + bits.get(CODE_BITS);
    else if (code <= TOTAL_BITS + 1) {
      const power = code - 1;
      const fine = Math.min(power, 2);
      weights[token++] = ((1 << fine) + bits.get(fine)) << (power - fine);
    } else throw corrupt('a table of frequencies is malformed');
  }
  scale(highest, frequencies);
  return highest;
}

function scale(highest: number, frequencies: Uint16Array): void {
  let sum = 0;
  for (let token = 0; token <= highest; token++) sum += weights[token] as number;
  if (sum === 0) throw corrupt('a table of frequencies is empty');
  let left = TOTAL;
  let largest = 0;
  frequencies.fill(0);
  for (let token = 0; token <= highest; token++) {
    const weight = weights[token] as number;
    if (weight === 0) continue;
    const frequency = Math.max(1, Math.floor((weight * TOTAL) / sum));
    frequencies[token] = frequency;
    left -= frequency;
    if (frequency >= (frequencies[largest] as number)) largest = token;
  }
  const rest = (frequencies[largest] as number) + left;
  if (rest < 1) throw corrupt('a table of frequencies is malformed');
  frequencies[largest] = rest;
}

class BitSink {
  readonly #out: ByteWriter;
  #accumulator = 0;
  #have = 0;

  constructor(out: ByteWriter) {
    this.#out = out;
  }

  put(value: number, width: number): void {
    this.#accumulator |= value << this.#have;
    this.#have += width;
    while (this.#have >= 8) {
      this.#out.u8(this.#accumulator & 0xff);
      this.#accumulator >>>= 8;
      this.#have -= 8;
    }
  }

  flush(): void {
    if (this.#have > 0) this.#out.u8(this.#accumulator & 0xff);
    this.#accumulator = 0;
    this.#have = 0;
  }
}

class BitSource {
  readonly #source: ByteReader;
  #accumulator = 0;
  #have = 0;

  constructor(source: ByteReader) {
    this.#source = source;
  }

  get(width: number): number {
    while (this.#have < width) {
      this.#accumulator |= this.#source.u8() << this.#have;
      this.#have += 8;
    }
    const value = this.#accumulator & ((1 << width) - 1);
    this.#accumulator >>>= width;
    this.#have -= width;
    return value;
  }
}
