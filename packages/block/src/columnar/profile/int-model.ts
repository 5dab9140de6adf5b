/**
 * Whole numbers as what they differ by from a number both sides know: the one before, the commit time, another column of the row, or a constant
 * of the profile. A difference is the symbol of its length and sign, then its bits.
 */
import { corrupt } from '../../header.ts';
import type { ByteReader, ByteWriter } from '../bytes.ts';
import { bitLength } from '../ints/tokens.ts';
import type { CodeSink, CodeSource } from './context.ts';
import { Table } from './table.ts';

/** Where the base is taken from; columns of the row are `Base.column` and above. */
export const Base = { constant: 0, previous: 1, time: 2, unixMs: 3, column: 4 } as const;
/** Milliseconds from 1970 to 2000. */
const PG_EPOCH_MS = 946_684_800_000;

const LENGTHS = 54;
/** Anything else: sign and 53 bits of the number itself. */
export const ESCAPE = 2 * LENGTHS;
export const SYMBOLS = ESCAPE + 1;
const COLUMNS_MAX = 2 * 1664;

export interface IntShape {
  /** Number of this model within the profile. */
  readonly id: number;
  readonly base: number;
  /** When there is no other base. */
  readonly constant: number;
  /** All differences are multiples of this. */
  readonly unit: number;
}

/** Length in bits, and {@link LENGTHS} more when negative; {@link ESCAPE} for what cannot be coded so. */
export function symbolOf(difference: number, unit: number): number {
  const size = Math.abs(difference) / unit;
  if (!Number.isSafeInteger(difference) || !Number.isSafeInteger(size)) return ESCAPE;
  return difference < 0 ? LENGTHS + bitLength(size) : bitLength(size);
}

/** Of all bases but the number before. NaN: there is none. */
export function baseOf(base: number, time: number, ints: Float64Array): number {
  if (base === Base.constant) return Number.NaN;
  if (base === Base.time) return time;
  if (base === Base.unixMs) return Math.floor(time / 1000) + PG_EPOCH_MS;
  return ints[base - Base.column] ?? Number.NaN;
}

export class IntModel {
  readonly shape: IntShape;
  /** With the constant as base, and with a better one. */
  readonly #far: Table;
  readonly #near: Table;

  constructor(shape: IntShape, far: Table, near: Table) {
    this.shape = shape;
    this.#far = far;
    this.#near = near;
  }

  /** The base at hand, NaN when only the constant is left. */
  #base(context: CodeSink['context']): number {
    const { base, id } = this.shape;
    return base === Base.previous
      ? (context.previous[id] as number)
      : baseOf(base, context.time, context.ints);
  }

  /** `value` is a safe integer. */
  put({ range, context }: CodeSink, value: number): void {
    const { id, constant, unit } = this.shape;
    const known = this.#base(context);
    const table = Number.isNaN(known) ? this.#far : this.#near;
    const difference = value - (Number.isNaN(known) ? constant : known);
    const symbol = symbolOf(difference, unit);
    table.put(range, symbol);
    if (symbol === ESCAPE) {
      range.putBits(value < 0 ? 1 : 0, 1);
      range.putBits(Math.abs(value), 53);
    } else {
      const length = symbol % LENGTHS;
      if (length > 1) range.putBits(Math.abs(difference) / unit - 2 ** (length - 1), length - 1);
    }
    context.previous[id] = value;
  }

  /** A safe integer. @throws DroverError `block.corrupt` */
  get({ range, context }: CodeSource): number {
    const { id, constant, unit } = this.shape;
    const known = this.#base(context);
    const symbol = (Number.isNaN(known) ? this.#far : this.#near).get(range);
    let value: number;
    if (symbol === ESCAPE) {
      const negative = range.bits(1) === 1;
      value = range.bits(53);
      if (negative) value = -value;
    } else {
      const length = symbol % LENGTHS;
      const size = length < 2 ? length : 2 ** (length - 1) + range.bits(length - 1);
      const difference = size * unit;
      value = (Number.isNaN(known) ? constant : known) + (symbol < LENGTHS ? difference : -difference);
    }
    if (!Number.isSafeInteger(value)) throw corrupt('a number is out of range');
    context.previous[id] = value;
    return value;
  }

  write(out: ByteWriter): void {
    const { base, constant, unit } = this.shape;
    out.varint(base);
    out.u8(constant < 0 ? 1 : 0);
    out.varint(Math.abs(constant));
    out.varint(unit);
    this.#far.write(out);
    if (base !== Base.constant) this.#near.write(out);
  }

  /** @throws DroverError `block.corrupt` */
  static read(from: ByteReader, id: number): IntModel {
    const base = from.varint();
    const negative = from.u8() === 1;
    const size = from.varint();
    const unit = from.varint();
    if (base >= Base.column + COLUMNS_MAX || unit === 0) throw corrupt('a model of numbers makes no sense');
    const far = readTable(from);
    const near = base === Base.constant ? far : readTable(from);
    return new IntModel({ id, base, constant: negative ? -size : size, unit }, far, near);
  }
}

function readTable(from: ByteReader): Table {
  const table = Table.read(from);
  if (table.size !== SYMBOLS) throw corrupt('a table of numbers has other symbols');
  return table;
}
