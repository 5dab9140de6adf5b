/**
 * Reads a document onto the tape. It is read to its last byte or not at all: every byte that is not a value's own is compared with what the
 * style would print there, so what passes is printed again byte for byte. No recursion: depth costs no stack.
 */
import type { JsonStyle } from './json-style.ts';
import { JSONB_VERSION } from './json-style.ts';
import { type JsonTape, Kind } from './json-tape.ts';
import { isOfNumber, QUOTE, startsWith, stringEnd } from './json-tokens.ts';
import { DEPTH_MAX, type JsonEdge, type JsonNode, type JsonState, type JsonTree } from './json-tree.ts';
import { DIGITS_MAX, POWERS } from './text/digits.ts';

const MANTISSA_END = POWERS[DIGITS_MAX] as number;

export class JsonScanner {
  readonly #tree: JsonTree;
  readonly #tape: JsonTape;
  readonly #style: JsonStyle;
  #bytes: Buffer | null = null;
  #view: DataView = new DataView(new ArrayBuffer(0));
  /** Objects and arrays that are open: their node, where the object is in its shape (null: an array), place on the tape, elements so far. */
  readonly #nodes: JsonNode[] = [];
  readonly #states: (JsonState | null)[] = [];
  readonly #places = new Int32Array(DEPTH_MAX + 2);
  readonly #lengths = new Int32Array(DEPTH_MAX + 2);

  constructor(tree: JsonTree, tape: JsonTape) {
    this.#tree = tree;
    this.#tape = tape;
    this.#style = tree.style;
  }

  /** @returns false, and the tape as it was, when the document is spelt otherwise or goes beyond a cap */
  scan(bytes: Buffer, start: number, end: number): boolean {
    const mark = this.#tape.size;
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    }
    let at = start;
    if (this.#style.binary) {
      if (bytes[at] !== JSONB_VERSION) return false;
      at++;
    }
    if (this.#tape.full || !this.#document(bytes, at, end)) {
      this.#tape.size = mark;
      return false;
    }
    return true;
  }

  #document(bytes: Buffer, start: number, end: number): boolean {
    const tape = this.#tape;
    const comma = this.#style.comma;
    const nodes = this.#nodes;
    const states = this.#states;
    let node = this.#tree.root;
    let at = start;
    let depth = 0;
    for (;;) {
      const first = bytes[at];
      if (first === QUOTE) {
        const close = stringEnd(bytes, at + 1, end);
        if (close < 0) return false;
        tape.push(node.id, Kind.string, at + 1, close);
        at = close + 1;
      } else if (first !== undefined && first <= 0x39) {
        at = this.#number(bytes, at, end, node.id);
        if (at < 0) return false;
      } else if (first === 0x7b) {
        if (bytes[at + 1] !== 0x7d) {
          if (++depth > DEPTH_MAX) return false;
          nodes[depth] = node;
          this.#places[depth] = tape.size;
          tape.push(node.id, Kind.object, 0, 0);
          const edge = this.#edge(bytes, at, end, node.start);
          if (edge === null) return false;
          states[depth] = edge.next;
          at += edge.literal.length;
          node = edge.value;
          continue;
        }
        tape.push(node.id, Kind.object, node.start.id, 0);
        at += 2;
      } else if (first === 0x5b) {
        if (bytes[at + 1] !== 0x5d) {
          if (++depth > DEPTH_MAX) return false;
          const element = this.#tree.element(node);
          if (element === null) return false;
          nodes[depth] = node;
          states[depth] = null;
          this.#places[depth] = tape.size;
          this.#lengths[depth] = 1;
          tape.push(node.id, Kind.array, 0, 0);
          at++;
          node = element;
          continue;
        }
        tape.push(node.id, Kind.array, 0, 0);
        at += 2;
      } else if (first === 0x74) {
        if (bytes[at + 1] !== 0x72 || bytes[at + 2] !== 0x75 || bytes[at + 3] !== 0x65) return false;
        tape.push(node.id, Kind.true, 0, 0);
        at += 4;
      } else if (first === 0x66) {
        if (
          bytes[at + 1] !== 0x61 ||
          bytes[at + 2] !== 0x6c ||
          bytes[at + 3] !== 0x73 ||
          bytes[at + 4] !== 0x65
        ) {
          return false;
        }
        tape.push(node.id, Kind.false, 0, 0);
        at += 5;
      } else if (first === 0x6e) {
        if (bytes[at + 1] !== 0x75 || bytes[at + 2] !== 0x6c || bytes[at + 3] !== 0x6c) return false;
        tape.push(node.id, Kind.null, 0, 0);
        at += 4;
      } else {
        return false;
      }
      for (;;) {
        if (depth === 0) return at === end;
        const next = bytes[at];
        const state = states[depth] as JsonState | null;
        if (state === null) {
          if (next !== 0x5d) {
            for (let i = 0; i < comma.length; i++) if (bytes[at + i] !== comma[i]) return false;
            at += comma.length;
            this.#lengths[depth] = (this.#lengths[depth] as number) + 1;
            node = (nodes[depth] as JsonNode).element as JsonNode;
            break;
          }
          tape.a[this.#places[depth] as number] = this.#lengths[depth] as number;
        } else {
          if (next !== 0x7d) {
            const edge = this.#edge(bytes, at, end, state);
            if (edge === null) return false;
            states[depth] = edge.next;
            at += edge.literal.length;
            node = edge.value;
            break;
          }
          tape.a[this.#places[depth] as number] = state.id;
        }
        at++;
        depth--;
      }
    }
  }

  /** The key that stands at `at`. */
  #edge(bytes: Buffer, at: number, end: number, state: JsonState): JsonEdge | null {
    const edges = state.edges;
    for (let i = 0; i < edges.length; i++) {
      const edge = edges[i] as JsonEdge;
      if (this.#isAt(bytes, at, end, edge)) return edge;
    }
    const first = state.parent === null;
    const { comma, colon } = this.#style;
    if (first ? bytes[at] !== 0x7b : !startsWith(bytes, at, comma)) return null;
    const open = at + (first ? 1 : comma.length);
    if (bytes[open] !== QUOTE) return null;
    const close = stringEnd(bytes, open + 1, end);
    if (close < 0 || close + colon.length >= end || !startsWith(bytes, close + 1, colon)) return null;
    return this.#tree.learn(state, bytes, open + 1, close);
  }

  /** Word by word: keys are most of a document. */
  #isAt(bytes: Buffer, at: number, end: number, edge: JsonEdge): boolean {
    const { literal, words } = edge;
    if (at + literal.length > end) return false;
    const view = this.#view;
    const count = words.length;
    for (let i = 0; i < count; i++) if (view.getInt32(at + 4 * i, true) !== words[i]) return false;
    for (let i = 4 * count; i < literal.length; i++) if (bytes[at + i] !== literal[i]) return false;
    return true;
  }

  /** @returns the offset behind the number, -1 when there is none */
  #number(bytes: Buffer, start: number, end: number, node: number): number {
    let at = start;
    const negative = bytes[at] === 0x2d;
    if (negative) at++;
    const whole = at;
    let mantissa = 0;
    let digit = (bytes[at] as number) - 0x30;
    while (digit >= 0 && digit <= 9) {
      mantissa = mantissa * 10 + digit;
      digit = (bytes[++at] as number) - 0x30;
    }
    const wholeDigits = at - whole;
    let scale = 0;
    if (digit === -2) {
      digit = (bytes[++at] as number) - 0x30;
      const point = at;
      while (digit >= 0 && digit <= 9) {
        mantissa = mantissa * 10 + digit;
        digit = (bytes[++at] as number) - 0x30;
      }
      scale = at - point;
      if (scale === 0) scale = DIGITS_MAX + 1;
    }
    const next = bytes[at];
    if (
      wholeDigits === 0 ||
      (wholeDigits > 1 && bytes[whole] === 0x30) ||
      scale > DIGITS_MAX ||
      mantissa >= MANTISSA_END ||
      (negative && mantissa === 0) ||
      at > end ||
      next === 0x65 ||
      next === 0x45
    ) {
      return this.#odd(bytes, start, end, node);
    }
    this.#tape.pushNumber(node, negative ? -mantissa : mantissa, scale);
    return at;
  }

  /** A number that only its own text renders. */
  #odd(bytes: Buffer, start: number, end: number, node: number): number {
    let at = start;
    while (at < end && isOfNumber(bytes[at] as number)) at++;
    if (at === start) return -1;
    this.#tape.push(node, Kind.odd, start, at);
    return at;
  }
}
