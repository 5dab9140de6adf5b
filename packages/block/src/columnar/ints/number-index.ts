/** A hash table from numbers to dense ids in order of first appearance; used again after {@link NumberIndex.clear}. */

const EMPTY = -1;
/** More steps than this to a free slot: somebody made numbers that collide. The caller does without the table. */
const PROBES_MAX = 64;

export class NumberIndex {
  #slots: Int32Array;
  #keys: Float64Array;
  #mask: number;
  count = 0;

  constructor() {
    this.#slots = new Int32Array(0);
    this.#keys = new Float64Array(0);
    this.#mask = 0;
  }

  /** Empty, with room for `limit` numbers. */
  clear(limit: number): void {
    const size = 2 ** Math.ceil(Math.log2(Math.max(8, limit * 2)));
    if (this.#slots.length < size) this.#slots = new Int32Array(size);
    this.#mask = size - 1;
    this.#slots.fill(EMPTY, 0, size);
    if (this.#keys.length < limit) this.#keys = new Float64Array(limit);
    this.count = 0;
  }

  /** The number's id, a new one when it was not there; -1 when too many others are in its way. */
  add(value: number): number {
    let at = hash(value) & this.#mask;
    for (let probes = 0; probes <= PROBES_MAX; probes++) {
      const id = this.#slots[at] as number;
      if (id === EMPTY) {
        this.#slots[at] = this.count;
        this.#keys[this.count] = value;
        return this.count++;
      }
      if (this.#keys[id] === value) return id;
      at = (at + 1) & this.#mask;
    }
    return -1;
  }

  key(id: number): number {
    return this.#keys[id] as number;
  }
}

/** Of whole numbers. */
function hash(value: number): number {
  const low = value | 0;
  const high = (value / 4294967296) | 0;
  const mixed = Math.imul(low ^ Math.imul(high, 0x85ebca6b), 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}
