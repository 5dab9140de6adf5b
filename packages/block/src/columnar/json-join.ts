/** Reads the columns of documents back, node by node: counts are derived, never believed, so what is printed consumes them exactly. */
import { corrupt } from '../header.ts';
import { type Decimals, decodeNumbers } from './json-numbers.ts';
import { type JsonStyle, keyLiteral, wordsOf } from './json-style.ts';
import { KINDS, Kind } from './json-tape.ts';
import type { Slices } from './slices.ts';
import type { StreamSource } from './streams.ts';
import type { Columns } from './text/codec.ts';
import { naturals } from './text/whole.ts';

/** Text in words, the last of which may hold up to three bytes more than its length. */
export interface Literal {
  readonly words: Int32Array;
  readonly length: number;
}

/** An object's keys, each as all that stands before its value, and the nodes of the values. */
export interface PrintShape {
  readonly literals: readonly Literal[];
  readonly values: readonly PrintNode[];
}

/** The values of a node and how far they are printed. */
export class PrintNode {
  count = 0;
  /** By code: a kind; codes from `kinds.length - 1` on are the shapes of objects, when there are any. */
  kinds: Kind[] = [];
  shapes: PrintShape[] = [];
  codes: Float64Array | null = null;
  lengths: Float64Array = NO_NUMBERS;
  element: PrintNode | null = null;
  strings: Slices = NO_STRINGS;
  odd: Slices = NO_STRINGS;
  numbers: Decimals = { mantissas: NO_NUMBERS, scales: new Uint8Array(0) };
  nextCode = 0;
  nextLength = 0;
  nextString = 0;
  nextOdd = 0;
  nextNumber = 0;
}

const NO_NUMBERS = new Float64Array(0);
const NO_STRINGS: Slices = {
  bytes: Buffer.alloc(0),
  starts: new Uint32Array(0),
  ends: new Uint32Array(0),
  count: 0,
};
/** What a node, or a key of a shape, costs in memory, about. */
const NODE_BYTES = 256;
const KEY_BYTES = 256;

interface Key {
  readonly first: Literal;
  readonly other: Literal;
}

/** @param valuesMax every value prints at least a byte, so there are no more than bytes. @throws DroverError `block.corrupt` */
export function joinNodes(
  columns: Columns,
  source: StreamSource,
  style: JsonStyle,
  documents: number,
  valuesMax: number,
): PrintNode {
  const keys = readKeys(source, style);
  const root = new PrintNode();
  root.count = documents;
  const queue = [root];
  let values = 0;
  for (let i = 0; i < queue.length; i++) {
    const node = queue[i] as PrintNode;
    values += node.count;
    if (values > valuesMax) throw corrupt('documents have more values than bytes', { values });
    source.spend(NODE_BYTES);
    readNode(columns, source, node, keys, queue);
  }
  return root;
}

function readKeys(source: StreamSource, style: JsonStyle): Key[] {
  const count = source.numbers.varint();
  const keys: Key[] = [];
  for (let i = 0; i < count; i++) {
    const length = source.numbers.varint();
    source.spend(8 * length + KEY_BYTES);
    const start = source.text.take(length);
    const key = source.text.bytes.subarray(start, start + length);
    keys.push({ first: literalOf(style, key, true), other: literalOf(style, key, false) });
  }
  return keys;
}

function literalOf(style: JsonStyle, key: Buffer, first: boolean): Literal {
  const text = keyLiteral(style, key, first);
  return { words: wordsOf(text), length: text.length };
}

function readNode(
  columns: Columns,
  source: StreamSource,
  node: PrintNode,
  keys: readonly Key[],
  queue: PrintNode[],
) {
  const mask = source.numbers.varint();
  if (mask === 0 || mask >= 1 << KINDS) throw corrupt('values of no kind', { mask });
  for (let kind = 0; kind < KINDS; kind++) if (mask & (1 << kind)) node.kinds.push(kind as Kind);
  if (mask & (1 << Kind.object)) readShapes(source, node, keys, queue);
  const codes = node.kinds.length - 1 + Math.max(1, node.shapes.length);
  const counts = new Uint32Array(codes);
  if (codes > 1) {
    node.codes = naturals(columns, source, node.count, codes - 1);
    for (let i = 0; i < node.count; i++) {
      const code = node.codes[i] as number;
      counts[code] = (counts[code] as number) + 1;
    }
  } else {
    counts[0] = node.count;
  }
  node.shapes.forEach((shape, s) => {
    const objects = counts[node.kinds.length - 1 + s] as number;
    for (const value of shape.values) value.count += objects;
  });
  const count = (kind: Kind) => (mask & (1 << kind) ? (counts[node.kinds.indexOf(kind)] as number) : 0);
  if (count(Kind.array) > 0) readLengths(columns, source, node, count(Kind.array), queue);
  if (count(Kind.string) > 0) node.strings = strings(columns, source, count(Kind.string));
  if (count(Kind.number) > 0) node.numbers = decodeNumbers(columns, source, count(Kind.number));
  if (count(Kind.odd) > 0) node.odd = strings(columns, source, count(Kind.odd));
}

function readLengths(
  columns: Columns,
  source: StreamSource,
  node: PrintNode,
  count: number,
  queue: PrintNode[],
) {
  node.lengths = naturals(columns, source, count, Number.MAX_SAFE_INTEGER);
  let elements = 0;
  for (const length of node.lengths) elements += length;
  if (!Number.isSafeInteger(elements)) throw corrupt('arrays have too many elements');
  if (elements === 0) return;
  node.element = new PrintNode();
  node.element.count = elements;
  queue.push(node.element);
}

function strings(columns: Columns, source: StreamSource, count: number): Slices {
  const values = columns.decodeStrings(source, count);
  if (values.count !== count) throw corrupt('a column has other strings than expected', { count });
  // One shape of object, whichever codec made it, keeps the printer quick.
  return { bytes: values.bytes, starts: values.starts, ends: values.ends, count };
}

function readShapes(source: StreamSource, node: PrintNode, keys: readonly Key[], queue: PrintNode[]): void {
  const { numbers } = source;
  const states = numbers.varint();
  source.spend(states * 2);
  if (states > numbers.left) throw corrupt('shapes have more keys than bytes', { states });
  const parents: number[] = [];
  for (let i = 0; i < states; i++) {
    const back = numbers.varint();
    if (back > i) throw corrupt('a key follows itself', { back });
    parents.push(i - back);
  }
  const keyOf: number[] = [];
  const nodes = new Map<number, PrintNode>();
  for (let i = 0; i < states; i++) {
    const key = numbers.varint();
    if (key >= keys.length) throw corrupt('no such key', { key });
    keyOf.push(key);
    if (nodes.has(key)) continue;
    const value = new PrintNode();
    nodes.set(key, value);
    queue.push(value);
  }
  const shapes = numbers.varint();
  if (shapes === 0) throw corrupt('objects have no shape');
  for (let s = 0; s < shapes; s++) {
    const last = numbers.varint();
    if (last > states) throw corrupt('no such shape', { last });
    const path: number[] = [];
    for (let state = last; state > 0; state = parents[state - 1] as number)
      path.push(keyOf[state - 1] as number);
    source.spend(16 * path.length + KEY_BYTES);
    path.reverse();
    node.shapes.push({
      literals: path.map((key, i) => (i === 0 ? (keys[key] as Key).first : (keys[key] as Key).other)),
      values: path.map((key) => nodes.get(key) as PrintNode),
    });
  }
}
