/**
 * From the tape to columns, one set per node, written node by node from the root down, breadth first: the reader knows how many values a
 * node has before it meets it. Keys go ahead of all, each once.
 *
 * | part | what |
 * | --- | --- |
 * | keys | count, lengths, bytes |
 * | per node | mask of kinds; objects: shapes as a trie; codes; array lengths; strings; numbers; odd numbers |
 */
import { assert } from '@drover/core';
import { encodeNumbers } from './json-numbers.ts';
import { type JsonTape, KINDS, Kind } from './json-tape.ts';
import type { JsonNode, JsonState, JsonTree } from './json-tree.ts';
import type { StreamSink } from './streams.ts';
import { TextCode } from './strings/codes.ts';
import type { Columns } from './text/codec.ts';

/** The values of one node, in the order of the text. */
interface NodeValues {
  readonly node: JsonNode;
  readonly mask: number;
  /** Number of a value's kind, and its shape, among those of the node; null when there is only one. */
  readonly codes: Float64Array | null;
  readonly codeOf: Uint8Array;
  readonly lengths: Float64Array;
  readonly strings: Places;
  readonly odd: Places;
  readonly mantissas: Float64Array;
  readonly scales: Uint8Array;
  code: number;
  length: number;
  number: number;
}

interface Places {
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
  count: number;
}

/** Writes what is on the tape, places being in `bytes`. The tape is free again before another codec is called. */
export function splitTape(
  columns: Columns,
  tree: JsonTree,
  tape: JsonTape,
  bytes: Buffer,
  sink: StreamSink,
): void {
  const counts = countKinds(tree, tape);
  const order = breadthFirst(tree, counts);
  const values = fill(order, counts, tree, tape);
  tape.clear();
  const keys = writeKeys(order, sink);
  for (const v of values) {
    const { node } = v;
    sink.numbers.varint(v.mask);
    if (node.shapes.length > 0) writeShapes(node, keys, sink);
    if (v.codes !== null) columns.encodeInts(v.codes, sink, node.plan.child('codes'));
    if (v.length > 0) columns.encodeInts(v.lengths, sink, node.plan.child('lengths'));
    if (v.strings.count > 0) {
      const plan = node.plan.child('strings');
      if (tree.plainStrings && plan.due) plan.settle(TextCode.plain, Number.MAX_SAFE_INTEGER, 1);
      columns.encodeStrings({ bytes, ...v.strings }, sink, plan);
    }
    if (v.number > 0) encodeNumbers(columns, v, sink, node.plan.child('numbers'));
    if (v.odd.count > 0) columns.encodeStrings({ bytes, ...v.odd }, sink, node.plan.child('odd'));
  }
}

/** Values by node and kind. Shapes get their numbers here. */
function countKinds(tree: JsonTree, tape: JsonTape): Uint32Array {
  const counts = new Uint32Array(tree.nodes.length * KINDS);
  for (let i = 0; i < tape.size; i++) {
    const kind = tape.kind[i] as number;
    if (kind === Kind.object) tree.shapeOf(tree.states[tape.a[i] as number] as JsonState);
    const at = (tape.node[i] as number) * KINDS + kind;
    counts[at] = (counts[at] as number) + 1;
  }
  return counts;
}

/** Nodes of the block as the reader finds them: for each, those of its keys in the order of its states, then that of its elements. */
function breadthFirst(tree: JsonTree, counts: Uint32Array): JsonNode[] {
  const order = [tree.root];
  const found = new Uint8Array(tree.nodes.length);
  for (let i = 0; i < order.length; i++) {
    const node = order[i] as JsonNode;
    for (const state of node.used) {
      const value = state.value as JsonNode;
      if (found[value.id] === 0) order.push(value);
      found[value.id] = 1;
    }
    if (node.element !== null && hasValues(node.element, counts)) order.push(node.element);
  }
  return order;
}

function hasValues(node: JsonNode, counts: Uint32Array): boolean {
  for (let kind = 0; kind < KINDS; kind++) if (counts[node.id * KINDS + kind] !== 0) return true;
  return false;
}

function emptyValues(node: JsonNode, counts: Uint32Array): NodeValues {
  const count = (kind: number) => counts[node.id * KINDS + kind] as number;
  const codeOf = new Uint8Array(KINDS);
  let mask = 0;
  let codes = 0;
  let total = 0;
  for (let kind = 0; kind < KINDS; kind++) {
    if (count(kind) === 0) continue;
    mask |= 1 << kind;
    total += count(kind);
    codeOf[kind] = codes;
    codes += kind === Kind.object ? node.shapes.length : 1;
  }
  return {
    node,
    mask,
    codes: codes > 1 ? new Float64Array(total) : null,
    codeOf,
    lengths: doubles(count(Kind.array)),
    strings: places(count(Kind.string)),
    odd: places(count(Kind.odd)),
    mantissas: doubles(count(Kind.number)),
    scales: count(Kind.number) === 0 ? NO_BYTES : new Uint8Array(count(Kind.number)),
    code: 0,
    length: 0,
    number: 0,
  };
}

const NO_BYTES = new Uint8Array(0);
const NO_DOUBLES = new Float64Array(0);
const NO_OFFSETS = new Uint32Array(0);

function doubles(count: number): Float64Array {
  return count === 0 ? NO_DOUBLES : new Float64Array(count);
}

function places(count: number): Places {
  if (count === 0) return { starts: NO_OFFSETS, ends: NO_OFFSETS, count: 0 };
  return { starts: new Uint32Array(count), ends: new Uint32Array(count), count: 0 };
}

function fill(order: readonly JsonNode[], counts: Uint32Array, tree: JsonTree, tape: JsonTape): NodeValues[] {
  const all = order.map((node) => emptyValues(node, counts));
  const byNode: (NodeValues | undefined)[] = Array.from({ length: tree.nodes.length });
  for (const v of all) byNode[v.node.id] = v;
  const { node, kind, a, b, mantissa, size } = tape;
  for (let i = 0; i < size; i++) {
    const v = byNode[node[i] as number] as NodeValues;
    const k = kind[i] as number;
    if (v.codes !== null) {
      const shape = k === Kind.object ? (tree.states[a[i] as number] as JsonState).shape : 0;
      v.codes[v.code++] = (v.codeOf[k] as number) + shape;
    }
    if (k === Kind.string) place(v.strings, a[i] as number, b[i] as number);
    else if (k === Kind.number) {
      v.scales[v.number] = a[i] as number;
      v.mantissas[v.number++] = mantissa[i] as number;
    } else if (k === Kind.array) v.lengths[v.length++] = a[i] as number;
    else if (k === Kind.odd) place(v.odd, a[i] as number, b[i] as number);
  }
  return all;
}

function place(places: Places, start: number, end: number): void {
  const at = places.count++;
  places.starts[at] = start;
  places.ends[at] = end;
}

/** @returns the numbers of the keys, by their spelling */
function writeKeys(order: readonly JsonNode[], sink: StreamSink): Map<string, number> {
  const numbers = new Map<string, number>();
  const keys: Buffer[] = [];
  for (const node of order) {
    for (const { key } of node.used) {
      const name = key.toString('latin1');
      if (numbers.has(name)) continue;
      numbers.set(name, keys.length);
      keys.push(key);
    }
  }
  sink.numbers.varint(keys.length);
  for (const key of keys) {
    sink.numbers.varint(key.length);
    sink.text.copy(key, 0, key.length);
  }
  return numbers;
}

/** A trie: for each state how far back its parent is and the key that leads to it; then the states at which shapes end. 0: no key yet. */
function writeShapes(node: JsonNode, keys: Map<string, number>, sink: StreamSink): void {
  const { numbers } = sink;
  numbers.varint(node.used.length);
  for (const state of node.used)
    numbers.varint(state.index - 1 - (state.parent?.parent ? state.parent.index : 0));
  for (const { key } of node.used) {
    const number = keys.get(key.toString('latin1'));
    assert(number !== undefined, 'a key of a shape is among the keys');
    numbers.varint(number);
  }
  numbers.varint(node.shapes.length);
  for (const state of node.shapes) numbers.varint(state.parent === null ? 0 : state.index);
}
