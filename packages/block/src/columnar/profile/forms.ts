/** Values of fixed forms: whole numbers, numerics and floats as decimals, UUIDs. What would not come back byte for byte is not of the form. */
import { corrupt } from '../../header.ts';
import type { ByteWriter } from '../bytes.ts';
import { type CodeSink, type CodeSource, type FormModel, Tag } from './context.ts';
import { readFixedAt, writeFixedAt } from './fixed-at.ts';
import type { IntModel } from './int-model.ts';
import { NUMERIC_BYTES_MAX, parseNumeric, printNumeric } from './numeric-at.ts';

export class FixedForm implements FormModel {
  readonly #width: number;
  readonly #ints: IntModel;
  #value = 0;

  constructor(width: number, ints: IntModel) {
    this.#width = width;
    this.#ints = ints;
  }

  parse(bytes: Buffer, start: number, end: number): boolean {
    this.#value = readFixedAt(bytes, start, end, this.#width);
    return !Number.isNaN(this.#value);
  }

  put(to: CodeSink): void {
    this.#ints.put(to, this.#value);
  }

  get(from: CodeSource): void {
    const value = this.#ints.get(from);
    const at = from.out.take(this.#width);
    if (!writeFixedAt(from.out.bytes, at, this.#width, value))
      throw corrupt('a number is wider than its column');
  }

  write(out: ByteWriter): void {
    out.u8(Tag.fixed);
    out.u8(this.#width);
    this.#ints.write(out);
  }
}

/** numeric of one display scale, in its binary form. */
export class NumericForm implements FormModel {
  readonly #scale: number;
  readonly #ints: IntModel;
  readonly #scratch = Buffer.alloc(NUMERIC_BYTES_MAX);
  #value = 0;

  constructor(scale: number, ints: IntModel) {
    this.#scale = scale;
    this.#ints = ints;
  }

  parse(bytes: Buffer, start: number, end: number): boolean {
    this.#value = parseNumeric(bytes, start, end, this.#scale);
    return !Number.isNaN(this.#value);
  }

  put(to: CodeSink): void {
    this.#ints.put(to, this.#value);
  }

  get(from: CodeSource): void {
    const length = printNumeric(this.#ints.get(from), this.#scale, this.#scratch);
    from.out.copy(this.#scratch, 0, length);
  }

  write(out: ByteWriter): void {
    out.u8(Tag.numeric);
    out.u8(this.#scale);
    this.#ints.write(out);
  }
}

/** Floats that are decimals of so many places: value = whole / 10^places, to the bit. */
export class FloatForm implements FormModel {
  readonly #width: number;
  readonly #power: number;
  readonly #places: number;
  readonly #ints: IntModel;
  #value = 0;

  constructor(width: number, places: number, ints: IntModel) {
    this.#width = width;
    this.#places = places;
    this.#power = 10 ** places;
    this.#ints = ints;
  }

  parse(bytes: Buffer, start: number, end: number): boolean {
    if (end - start !== this.#width) return false;
    const value = this.#width === 8 ? bytes.readDoubleBE(start) : bytes.readFloatBE(start);
    const whole = Math.round(value * this.#power);
    if (!Number.isSafeInteger(whole) || Object.is(whole, -0)) return false;
    this.#value = whole;
    const back = whole / this.#power;
    return Object.is(this.#width === 8 ? back : Math.fround(back), value);
  }

  put(to: CodeSink): void {
    this.#ints.put(to, this.#value);
  }

  get(from: CodeSource): void {
    const value = this.#ints.get(from) / this.#power;
    const at = from.out.take(this.#width);
    if (this.#width === 8) from.out.bytes.writeDoubleBE(value, at);
    else from.out.bytes.writeFloatBE(value, at);
  }

  write(out: ByteWriter): void {
    out.u8(Tag.float);
    out.u8(this.#width);
    out.u8(this.#places);
    this.#ints.write(out);
  }
}

const UUID_BYTES = 16;
const VERSION_BYTE = 6;
const VARIANT_BYTE = 8;
const RANDOM = 0x40;
const TIMED = 0x70;

/** UUIDs of one version: random ones, or those that begin with a time in milliseconds. */
export class UuidForm implements FormModel {
  /** Null: random ones. */
  readonly #times: IntModel | null;
  readonly #value = Buffer.alloc(UUID_BYTES);

  constructor(times: IntModel | null) {
    this.#times = times;
  }

  parse(bytes: Buffer, start: number, end: number): boolean {
    if (end - start !== UUID_BYTES) return false;
    const version = (bytes[start + VERSION_BYTE] as number) & 0xf0;
    if (version !== (this.#times === null ? RANDOM : TIMED)) return false;
    if (((bytes[start + VARIANT_BYTE] as number) & 0xc0) !== 0x80) return false;
    bytes.copy(this.#value, 0, start, end);
    return true;
  }

  put(to: CodeSink): void {
    const { range } = to;
    const value = this.#value;
    if (this.#times === null) range.putBits(value.readUIntBE(0, 6), 48);
    else this.#times.put(to, value.readUIntBE(0, 6));
    range.putBits(((value[6] as number) & 15) * 256 + (value[7] as number), 12);
    range.putBits((value[8] as number) & 63, 6);
    range.putBits(value[9] as number, 8);
    range.putBits(value.readUIntBE(10, 6), 48);
  }

  get(from: CodeSource): void {
    const { range, out } = from;
    const at = out.take(UUID_BYTES);
    const time = this.#times === null ? range.bits(48) : this.#times.get(from);
    if (!(time >= 0 && time < 2 ** 48)) throw corrupt('the time of a uuid is out of range');
    out.bytes.writeUIntBE(time, at, 6);
    out.bytes.writeUInt16BE((this.#times === null ? RANDOM : TIMED) * 256 + range.bits(12), at + 6);
    out.bytes[at + 8] = 0x80 | range.bits(6);
    out.bytes[at + 9] = range.bits(8);
    out.bytes.writeUIntBE(range.bits(48), at + 10, 6);
  }

  write(out: ByteWriter): void {
    out.u8(Tag.uuid);
    out.u8(this.#times === null ? 0 : 1);
    this.#times?.write(out);
  }
}
