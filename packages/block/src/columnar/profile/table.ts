/** How often each of some symbols comes, as learnt; every symbol can be coded, however rare. */
import { corrupt } from '../../header.ts';
import type { ByteReader, ByteWriter } from '../bytes.ts';
import { type RangeDecoder, type RangeEncoder, TOTAL, TOTAL_BITS } from './range-coder.ts';

/** So that each can have a frequency of one. */
export const SYMBOLS_MAX = 4096;

export class Table {
  readonly size: number;
  /** Start of each symbol; one more at the end. */
  readonly #starts: Uint16Array;

  /** @param frequencies add up to {@link TOTAL}, none is 0 */
  private constructor(frequencies: ArrayLike<number>) {
    this.size = frequencies.length;
    this.#starts = new Uint16Array(this.size + 1);
    let sum = 0;
    for (let i = 0; i < this.size; i++) {
      this.#starts[i] = sum;
      sum += frequencies[i] as number;
    }
    this.#starts[this.size] = sum;
  }

  /** Frequencies in proportion to `counts`; those of 0 get the least there is. */
  static of(counts: ArrayLike<number>): Table {
    const size = counts.length;
    let sum = 0;
    let most = 0;
    for (let i = 0; i < size; i++) {
      sum += counts[i] as number;
      if ((counts[i] as number) > (counts[most] as number)) most = i;
    }
    const frequencies = new Uint16Array(size);
    let left = TOTAL;
    for (let i = 0; i < size; i++) {
      const share = sum === 0 ? 0 : ((counts[i] as number) / sum) * (TOTAL - size);
      frequencies[i] = 1 + Math.floor(share);
      left -= frequencies[i] as number;
    }
    frequencies[most] = (frequencies[most] as number) + left;
    return new Table(frequencies);
  }

  frequency(symbol: number): number {
    return (this.#starts[symbol + 1] as number) - (this.#starts[symbol] as number);
  }

  /** Bits the symbol takes. */
  cost(symbol: number): number {
    return TOTAL_BITS - Math.log2(this.frequency(symbol));
  }

  put(out: RangeEncoder, symbol: number): void {
    if (this.size === 1) return;
    out.put(this.#starts[symbol] as number, this.frequency(symbol), TOTAL_BITS);
  }

  get(from: RangeDecoder): number {
    if (this.size === 1) return 0;
    const place = from.peek(TOTAL_BITS);
    let low = 0;
    let high = this.size;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((this.#starts[middle] as number) <= place) low = middle;
      else high = middle;
    }
    from.take(this.#starts[low] as number, this.frequency(low));
    return low;
  }

  /** Symbols of frequency one are runs. */
  write(out: ByteWriter): void {
    out.varint(this.size);
    let rare = 0;
    for (let i = 0; i < this.size; i++) {
      const frequency = this.frequency(i);
      if (frequency === 1) {
        rare++;
        continue;
      }
      out.varint(rare);
      out.varint(frequency);
      rare = 0;
    }
    out.varint(rare);
    out.varint(0);
  }

  /** @throws DroverError `block.corrupt` */
  static read(from: ByteReader): Table {
    const size = from.varint();
    if (size < 1 || size > SYMBOLS_MAX) throw corrupt('a table has too many symbols', { size });
    const frequencies = new Uint16Array(size).fill(1);
    let at = 0;
    let sum = size;
    for (;;) {
      at += from.varint();
      const frequency = from.varint();
      if (frequency === 0) break;
      if (at >= size || frequency > TOTAL) throw corrupt('a table has symbols to spare');
      frequencies[at++] = frequency;
      sum += frequency - 1;
    }
    if (at !== size || sum !== TOTAL) throw corrupt('the frequencies of a table do not add up', { sum });
    return new Table(frequencies);
  }
}
