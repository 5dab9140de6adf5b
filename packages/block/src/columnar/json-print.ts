/** Prints documents from the columns of their nodes. The room is fixed beforehand: what would not fit is refused, so nothing grows. */
import { corrupt } from '../header.ts';
import type { Literal, PrintNode, PrintShape } from './json-join.ts';
import type { JsonStyle } from './json-style.ts';
import { JSONB_VERSION } from './json-style.ts';
import { Kind } from './json-tape.ts';
import type { Slices } from './slices.ts';
import { DECIMAL_BYTES_MAX, putDecimal } from './text/digits.ts';

const CONSTANTS = [Buffer.from('null'), Buffer.from('true'), Buffer.from('false')];
const QUOTE = 0x22;
/** Copies of more bytes than this are quicker by the runtime's own call. */
const LONG_BYTES = 48;

export class JsonPrinter {
  readonly #root: PrintNode;
  readonly #style: JsonStyle;
  readonly #out: Buffer;
  readonly #view: DataView;
  /** Objects and arrays that are open: the shape (null: an array of `#elements`), values printed or, of an array, left. */
  readonly #shapes: (PrintShape | null)[] = [];
  readonly #elements: (PrintNode | null)[] = [];
  readonly #counts: number[] = [];

  constructor(root: PrintNode, style: JsonStyle, out: Buffer) {
    this.#root = root;
    this.#style = style;
    this.#out = out;
    this.#view = new DataView(out.buffer, out.byteOffset, out.length);
  }

  /** Prints the next document at `at`. @returns the offset behind it. @throws DroverError `block.corrupt` when there is no room */
  print(start: number): number {
    const out = this.#out;
    const comma = this.#style.comma;
    let at = start;
    let node = this.#root;
    let depth = 0;
    if (this.#style.binary) out[at++] = JSONB_VERSION;
    for (;;) {
      const code = node.codes === null ? 0 : (node.codes[node.nextCode++] as number);
      const last = node.kinds.length - 1;
      const kind = node.kinds[code < last ? code : last] as Kind;
      if (kind === Kind.string) {
        const i = node.nextString++;
        at = this.#text(node.strings, i, at, QUOTE);
      } else if (kind === Kind.number) {
        const i = node.nextNumber++;
        if (at + DECIMAL_BYTES_MAX > out.length) at = this.#lastNumber(node, i, at);
        else at = putDecimal(out, at, node.numbers.mantissas[i] as number, node.numbers.scales[i] as number);
      } else if (kind === Kind.object) {
        const shape = node.shapes[code - last] as PrintShape;
        if (shape.values.length > 0) {
          depth++;
          this.#shapes[depth] = shape;
          this.#counts[depth] = 1;
          at = this.#literal(shape.literals[0] as Literal, at);
          node = shape.values[0] as PrintNode;
          continue;
        }
        out[at++] = 0x7b;
        out[at++] = 0x7d;
      } else if (kind === Kind.array) {
        const length = node.lengths[node.nextLength++] as number;
        out[at++] = 0x5b;
        if (length > 0) {
          depth++;
          this.#shapes[depth] = null;
          this.#elements[depth] = node.element;
          this.#counts[depth] = length;
          node = node.element as PrintNode;
          continue;
        }
        out[at++] = 0x5d;
      } else if (kind === Kind.odd) {
        at = this.#text(node.odd, node.nextOdd++, at, -1);
      } else {
        at = this.#put(CONSTANTS[kind] as Buffer, at);
      }
      for (;;) {
        if (depth === 0) return at;
        const shape = this.#shapes[depth] as PrintShape | null;
        const count = this.#counts[depth] as number;
        if (shape === null) {
          if (count > 1) {
            this.#counts[depth] = count - 1;
            at = this.#put(comma, at);
            node = this.#elements[depth] as PrintNode;
            break;
          }
          out[at++] = 0x5d;
        } else {
          if (count < shape.values.length) {
            this.#counts[depth] = count + 1;
            at = this.#literal(shape.literals[count] as Literal, at);
            node = shape.values[count] as PrintNode;
            break;
          }
          out[at++] = 0x7d;
        }
        depth--;
      }
    }
  }

  /** Value `i`, within quotes unless `quote` is negative. */
  #text(values: Slices, i: number, start: number, quote: number): number {
    const from = values.starts[i] as number;
    const end = values.ends[i] as number;
    const out = this.#out;
    let at = start;
    if (quote >= 0) out[at++] = quote;
    if (end - from > out.length - at) throw noRoom();
    if (end - from > LONG_BYTES) {
      values.bytes.copy(out, at, from, end);
      at += end - from;
    } else {
      const { bytes } = values;
      for (let k = from; k < end; k++) out[at++] = bytes[k] as number;
    }
    if (quote >= 0) out[at++] = quote;
    return at;
  }

  /** What the last word has too much is overwritten by what follows, unless there is no room for it. */
  #literal(literal: Literal, start: number): number {
    const { words, length } = literal;
    const view = this.#view;
    if (start + 4 * words.length > this.#out.length) return this.#lastLiteral(literal, start);
    for (let i = 0; i < words.length; i++) view.setInt32(start + 4 * i, words[i] as number, true);
    return start + length;
  }

  #lastLiteral(literal: Literal, start: number): number {
    const bytes = Buffer.alloc(4 * literal.words.length);
    literal.words.forEach((word, i) => {
      bytes.writeInt32LE(word, 4 * i);
    });
    return this.#put(bytes.subarray(0, literal.length), start);
  }

  #put(bytes: Uint8Array, start: number): number {
    const out = this.#out;
    if (bytes.length > out.length - start) throw noRoom();
    for (let i = 0; i < bytes.length; i++) out[start + i] = bytes[i] as number;
    return start + bytes.length;
  }

  /** Close to the end of the room a number is printed elsewhere first. */
  #lastNumber(node: PrintNode, i: number, at: number): number {
    const room = Buffer.alloc(DECIMAL_BYTES_MAX);
    const length = putDecimal(room, 0, node.numbers.mantissas[i] as number, node.numbers.scales[i] as number);
    return this.#put(room.subarray(0, length), at);
  }
}

function noRoom() {
  return corrupt('documents are longer than announced');
}
