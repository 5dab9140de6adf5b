/**
 * What is known of a column's documents: which values stand where (nodes, one per path) and which keys follow which (a trie per object, so
 * that a document is matched against the shapes seen before instead of being taken apart). It only grows, up to its caps, and outlives the
 * block; numbers that go into a block are given anew in each, in the order of first use, so that equal rows give equal bytes.
 */

import { type JsonStyle, keyLiteral, wordsOf } from './json-style.ts';
import type { Plan } from './plan.ts';

/** Paths of one column. */
const NODES_MAX = 1024;
/** Prefixes of shapes of one column. */
const STATES_MAX = 4096;
/** Keys that may follow the same keys; more belong to an object used as a map. */
const EDGES_MAX = 64;
const KEY_BYTES_MAX = 255;
export const DEPTH_MAX = 64;

export class JsonNode {
  readonly id: number;
  readonly depth: number;
  readonly plan: Plan;
  /** Where an object of this node starts. */
  readonly start: JsonState;
  /** By key, as spelt. */
  readonly children = new Map<string, JsonNode>();
  element: JsonNode | null = null;
  /** Of the block at hand: states used, each behind its parent, and those where an object ended. */
  used: JsonState[] = [];
  shapes: JsonState[] = [];

  constructor(tree: JsonTree, depth: number) {
    this.id = tree.nodes.length;
    this.depth = depth;
    this.plan = tree.plan.child(String(this.id));
    this.start = new JsonState(tree, this, null, NO_KEY, null);
  }
}

/** After some keys of an object. */
export class JsonState {
  readonly id: number;
  readonly node: JsonNode;
  readonly parent: JsonState | null;
  /** The last key and the node of its value. */
  readonly key: Buffer;
  readonly value: JsonNode | null;
  readonly edges: JsonEdge[] = [];
  /** Block in which {@link index}, its number within the node, was given; likewise the shape's number. */
  indexBlock = 0;
  index = 0;
  shapeBlock = 0;
  shape = 0;

  constructor(tree: JsonTree, node: JsonNode, parent: JsonState | null, key: Buffer, value: JsonNode | null) {
    this.id = tree.states.length;
    this.node = node;
    this.parent = parent;
    this.key = key;
    this.value = value;
    tree.states.push(this);
  }
}

export interface JsonEdge {
  /** All that stands before the value. */
  readonly literal: Uint8Array;
  /** {@link literal} by four bytes, little-endian, without the one to three bytes that may be left. */
  readonly words: Int32Array;
  readonly value: JsonNode;
  readonly next: JsonState;
}

const NO_KEY = Buffer.alloc(0);

export class JsonTree {
  readonly style: JsonStyle;
  readonly plan: Plan;
  readonly nodes: JsonNode[] = [];
  readonly states: JsonState[] = [];
  readonly root: JsonNode;
  /** Strings are not coded column by column. */
  readonly plainStrings: boolean;
  /** Number of the block at hand, and the nodes that have objects in it. */
  block = 0;
  readonly #shaped: JsonNode[] = [];

  constructor(style: JsonStyle, plan: Plan, plainStrings: boolean) {
    this.style = style;
    this.plainStrings = plainStrings;
    this.plan = plan;
    this.root = this.#node(0) as JsonNode;
  }

  /** No further path or shape can be learnt. */
  get full(): boolean {
    return this.nodes.length >= NODES_MAX || this.states.length >= STATES_MAX;
  }

  /** Node of the elements of `node`'s arrays; null beyond a cap. */
  element(node: JsonNode): JsonNode | null {
    node.element ??= this.#node(node.depth + 1);
    return node.element;
  }

  /** The key at `bytes[start .. end)` may follow `state`. Null beyond a cap. */
  learn(state: JsonState, bytes: Buffer, start: number, end: number): JsonEdge | null {
    if (end - start > KEY_BYTES_MAX || state.edges.length >= EDGES_MAX || this.states.length >= STATES_MAX) {
      return null;
    }
    const { node } = state;
    const name = bytes.toString('latin1', start, end);
    const value = node.children.get(name) ?? this.#node(node.depth + 1);
    if (value === null) return null;
    node.children.set(name, value);
    const key = Buffer.from(bytes.subarray(start, end));
    const literal = keyLiteral(this.style, key, state.parent === null);
    const edge: JsonEdge = {
      literal,
      words: wordsOf(literal).subarray(0, literal.length >>> 2),
      value,
      next: new JsonState(this, node, state, key, value),
    };
    state.edges.push(edge);
    return edge;
  }

  #node(depth: number): JsonNode | null {
    if (this.nodes.length >= NODES_MAX || this.states.length >= STATES_MAX || depth > DEPTH_MAX) return null;
    const node = new JsonNode(this, depth);
    this.nodes.push(node);
    return node;
  }

  /** An object of the block at hand ended at `state`. @returns the number of its shape within the node */
  shapeOf(state: JsonState): number {
    if (state.shapeBlock === this.block) return state.shape;
    const { node } = state;
    state.shapeBlock = this.block;
    state.shape = node.shapes.length;
    if (state.shape === 0) this.#shaped.push(node);
    node.shapes.push(state);
    const chain: JsonState[] = [];
    for (let s: JsonState | null = state; s?.parent && s.indexBlock !== this.block; s = s.parent)
      chain.push(s);
    for (const s of chain.reverse()) {
      s.indexBlock = this.block;
      s.index = node.used.push(s);
    }
    return state.shape;
  }

  /** The numbers of the last block are void. */
  nextBlock(): void {
    this.block++;
    for (const node of this.#shaped) {
      node.used = [];
      node.shapes = [];
    }
    this.#shaped.length = 0;
  }
}
