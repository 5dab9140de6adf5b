/** Text of a few skeletons, each token by a model of its own; and the commonest of those, decimals. */
import type { ByteWriter } from '../bytes.ts';
import { type CodeSink, type CodeSource, type FormModel, Tag, type ValueModel } from './context.ts';
import type { IntModel } from './int-model.ts';
import type { Table } from './table.ts';
import { keyOf, Tokens } from './tokens.ts';

export interface Skeleton {
  /** One more than there are tokens. */
  readonly pieces: readonly Buffer[];
  readonly tokens: readonly ValueModel[];
}

export class TemplateForm implements FormModel {
  readonly #document: boolean;
  readonly #skeletons: readonly Skeleton[];
  readonly #numbers: Map<string, number>;
  readonly #table: Table;
  readonly #tokens = new Tokens();
  /** Of the value parsed last. */
  #bytes: Buffer = Buffer.alloc(0);
  #skeleton = 0;

  constructor(document: boolean, skeletons: readonly Skeleton[], table: Table) {
    this.#document = document;
    this.#skeletons = skeletons;
    this.#numbers = new Map(skeletons.map(({ pieces }, i) => [keyOf(pieces), i]));
    this.#table = table;
  }

  parse(bytes: Buffer, start: number, end: number): boolean {
    const tokens = this.#tokens;
    const read = this.#document ? tokens.readDocument(bytes, start, end) : tokens.readText(bytes, start, end);
    if (!read) return false;
    const number = this.#numbers.get(keyOf(tokens.pieces(bytes, start, end)));
    if (number === undefined) return false;
    this.#bytes = bytes;
    this.#skeleton = number;
    return true;
  }

  put(to: CodeSink): void {
    this.#table.put(to.range, this.#skeleton);
    const { tokens } = this.#skeletons[this.#skeleton] as Skeleton;
    const { starts, ends } = this.#tokens;
    tokens.forEach((model, i) => {
      model.encode(to, this.#bytes, starts[i] as number, ends[i] as number);
    });
  }

  get(from: CodeSource): void {
    const { pieces, tokens } = this.#skeletons[this.#table.get(from.range)] as Skeleton;
    pieces.forEach((piece, i) => {
      from.out.copy(piece, 0, piece.length);
      tokens[i]?.decode(from);
    });
  }

  write(out: ByteWriter): void {
    out.u8(Tag.template);
    out.u8(this.#document ? 1 : 0);
    out.varint(this.#skeletons.length);
    for (const { pieces, tokens } of this.#skeletons) {
      out.varint(tokens.length);
      for (const piece of pieces) {
        out.varint(piece.length);
        out.copy(piece, 0, piece.length);
      }
      for (const model of tokens) model.write(out);
    }
    this.#table.write(out);
  }
}

const ZERO = 0x30;
const DIGITS_MAX = 15;

/** ASCII decimals: of `width` digits with zeros in front, or (0) as many as the number has; `places` of them behind a point. */
export class DecimalForm implements FormModel {
  readonly #width: number;
  readonly #places: number;
  readonly #ints: IntModel;
  #value = 0;

  constructor(width: number, places: number, ints: IntModel) {
    this.#width = width;
    this.#places = places;
    this.#ints = ints;
  }

  parse(bytes: Buffer, start: number, end: number): boolean {
    if (end - start > DIGITS_MAX + 2) return false;
    const text = bytes.toString('latin1', start, end);
    const value = Number(text.replace('.', ''));
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) return false;
    this.#value = value;
    return text === this.#print(value);
  }

  #print(value: number): string {
    const digits = String(Math.abs(value)).padStart(Math.max(this.#width, this.#places + 1), '0');
    const sign = value < 0 ? '-' : '';
    if (this.#places === 0) return sign + digits;
    const point = digits.length - this.#places;
    return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`;
  }

  put(to: CodeSink): void {
    this.#ints.put(to, this.#value);
  }

  get(from: CodeSource): void {
    const value = this.#ints.get(from);
    if (this.#places === 0 && value >= 0) {
      putDigits(from, value, this.#width);
      return;
    }
    const text = this.#print(value);
    from.out.bytes.write(text, from.out.take(text.length), 'latin1');
  }

  write(out: ByteWriter): void {
    out.u8(Tag.decimal);
    out.u8(this.#width);
    out.u8(this.#places);
    this.#ints.write(out);
  }
}

/** At least `width` of them. */
function putDigits({ out }: CodeSource, value: number, width: number): void {
  let count = 1;
  for (let limit = 10; value >= limit; limit *= 10) count++;
  const length = Math.max(count, width);
  const start = out.take(length);
  let rest = value;
  for (let at = start + length - 1; at >= start; at--) {
    const next = Math.floor(rest / 10);
    out.bytes[at] = ZERO + (rest - next * 10);
    rest = next;
  }
}
