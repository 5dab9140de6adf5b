/** What is known while a message is coded, the same on both sides: what came before in it, and where its bytes go. */
import { corrupt } from '../../header.ts';
import type { ByteReader, ByteWriter } from '../bytes.ts';
import type { RangeDecoder, RangeEncoder } from './range-coder.ts';

export class Context {
  /** Commit time of the transaction at hand; NaN before the first. */
  time = Number.NaN;
  /** Of the row at hand: the numbers of its columns so far; NaN for what is none. */
  readonly ints: Float64Array;
  /** By number of the model: what it coded last in this message; NaN at first. */
  readonly previous: Float64Array;

  constructor(columns: number, models: number) {
    this.ints = new Float64Array(columns).fill(Number.NaN);
    this.previous = new Float64Array(models).fill(Number.NaN);
  }

  reset(): void {
    this.time = Number.NaN;
    this.ints.fill(Number.NaN);
    this.previous.fill(Number.NaN);
  }
}

export interface CodeSink {
  readonly range: RangeEncoder;
  /** Text that is compressed apart. */
  readonly residue: ByteWriter;
  readonly context: Context;
}

export interface CodeSource {
  readonly range: RangeDecoder;
  readonly residue: ByteReader;
  readonly context: Context;
  readonly out: Out;
}

/** A body of a length known beforehand, filled from its start. */
export class Out {
  readonly bytes: Buffer;
  at = 0;

  constructor(length: number) {
    this.bytes = Buffer.allocUnsafe(length);
  }

  /** Where `length` bytes may be put. @throws DroverError `block.corrupt` when the body is full */
  take(length: number): number {
    const at = this.at;
    if (!(length <= this.bytes.length - at))
      throw corrupt('its records are longer than declared', { length });
    this.at = at + length;
    return at;
  }

  copy(from: Buffer, start: number, end: number): void {
    const at = this.take(end - start);
    from.copy(this.bytes, at, start, end);
  }
}

/** How values of a column are coded. */
export interface ValueModel {
  encode(to: CodeSink, bytes: Buffer, start: number, end: number): void;
  /** Appends the value. @throws DroverError `block.corrupt` */
  decode(from: CodeSource): void;
  /** As part of a profile: {@link Tag} and what the model consists of. */
  write(out: ByteWriter): void;
}

/** A model for values of one form only. What was parsed is kept until it is put. */
export interface FormModel {
  /** Whether the value has the form, and comes back byte for byte. */
  parse(bytes: Buffer, start: number, end: number): boolean;
  put(to: CodeSink): void;
  get(from: CodeSource): void;
  write(out: ByteWriter): void;
}

/** Part of the format. */
export const Tag = {
  residue: 0,
  letters: 1,
  planes: 2,
  dictionary: 3,
  fixed: 4,
  numeric: 5,
  float: 6,
  uuid: 7,
  template: 8,
  decimal: 9,
} as const;
