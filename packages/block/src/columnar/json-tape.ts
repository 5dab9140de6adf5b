/** What was read from documents, value by value in the order of the text: nothing of it is in a column yet, so a document can be dropped. */

/** Part of the format: bits of a node's mask. Objects come last among the codes of a node, since each shape has a code of its own. */
export const Kind = {
  null: 0,
  true: 1,
  false: 2,
  string: 3,
  number: 4,
  odd: 5,
  array: 6,
  object: 7,
} as const;
export type Kind = (typeof Kind)[keyof typeof Kind];
export const KINDS = 8;

const INITIAL_VALUES = 4096;
/** Values of one block; documents beyond stay text. */
const VALUES_MAX = 1 << 21;
/** A larger tape is not kept for the next block. */
const KEPT_VALUES_MAX = 1 << 17;

export class JsonTape {
  size = 0;
  node = new Uint16Array(INITIAL_VALUES);
  kind = new Uint8Array(INITIAL_VALUES);
  /** string, odd: start; number: digits behind the point; array: length; object: state at its end. */
  a = new Uint32Array(INITIAL_VALUES);
  /** string, odd: end. */
  b = new Uint32Array(INITIAL_VALUES);
  /** number: all its digits, with the sign. */
  mantissa = new Float64Array(INITIAL_VALUES);

  get full(): boolean {
    return this.size >= VALUES_MAX;
  }

  push(node: number, kind: Kind, a: number, b: number): void {
    const at = this.size++;
    if (at === this.kind.length) this.#grow();
    this.node[at] = node;
    this.kind[at] = kind;
    this.a[at] = a;
    this.b[at] = b;
  }

  pushNumber(node: number, mantissa: number, scale: number): void {
    const at = this.size++;
    if (at === this.kind.length) this.#grow();
    this.node[at] = node;
    this.kind[at] = Kind.number;
    this.a[at] = scale;
    this.mantissa[at] = mantissa;
  }

  clear(): void {
    this.size = 0;
    if (this.kind.length > KEPT_VALUES_MAX) this.#resize(INITIAL_VALUES);
  }

  #grow(): void {
    this.#resize(this.kind.length * 2);
  }

  #resize(length: number): void {
    const keep = Math.min(this.size, length);
    this.node = grown(new Uint16Array(length), this.node.subarray(0, keep));
    this.kind = grown(new Uint8Array(length), this.kind.subarray(0, keep));
    this.a = grown(new Uint32Array(length), this.a.subarray(0, keep));
    this.b = grown(new Uint32Array(length), this.b.subarray(0, keep));
    this.mantissa = grown(new Float64Array(length), this.mantissa.subarray(0, keep));
  }
}

function grown<T extends Uint8Array | Uint16Array | Uint32Array | Float64Array>(to: T, from: T): T {
  to.set(from);
  return to;
}
