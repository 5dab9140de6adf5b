/** A hash table from byte strings to dense ids in order of first appearance. */
import type { Slices } from '../slices.ts';

const EMPTY = -1;
/** More steps than this from one slot to the next free: somebody made values that collide. The caller does without the table. */
const PROBES_MAX = 64;

export class ByteIndex {
  #slots = new Int32Array(0);
  #hashes = new Int32Array(0);
  /** Row at which each id first stood. */
  #firsts = new Uint32Array(0);
  count = 0;

  /** Ids of all values into `ids`; false when there are more than `limit` distinct ones. */
  build(values: Slices, limit: number, ids: Float64Array): boolean {
    const mask = this.#clear(limit + 1);
    const { bytes, starts, ends } = values;
    for (let i = 0; i < values.count; i++) {
      const start = starts[i] as number;
      const end = ends[i] as number;
      const hashed = hash(bytes, start, end);
      let at = hashed & mask;
      let id = this.#slots[at] as number;
      let probes = 0;
      while (id !== EMPTY) {
        if (this.#hashes[id] === hashed) {
          const first = this.#firsts[id] as number;
          if (equal(bytes, start, end, starts[first] as number, ends[first] as number)) break;
        }
        if (++probes > PROBES_MAX) return false;
        at = (at + 1) & mask;
        id = this.#slots[at] as number;
      }
      if (id === EMPTY) {
        if (this.count >= limit) return false;
        id = this.count++;
        this.#slots[at] = id;
        this.#hashes[id] = hashed;
        this.#firsts[id] = i;
      }
      ids[i] = id;
    }
    return true;
  }

  /** The row at which the id first stood. */
  first(id: number): number {
    return this.#firsts[id] as number;
  }

  #clear(limit: number): number {
    const size = 2 ** Math.ceil(Math.log2(Math.max(8, limit * 2)));
    if (this.#slots.length < size) this.#slots = new Int32Array(size);
    this.#slots.fill(EMPTY, 0, size);
    if (this.#hashes.length < limit) {
      this.#hashes = new Int32Array(limit);
      this.#firsts = new Uint32Array(limit);
    }
    this.count = 0;
    return size - 1;
  }
}

/** Of the length, both ends and a few bytes between. */
function hash(bytes: Buffer, start: number, end: number): number {
  const length = end - start;
  let mixed = length;
  if (length <= 16) {
    for (let i = start; i < end; i++) mixed = Math.imul(mixed ^ (bytes[i] as number), 0x01000193);
  } else {
    const stride = (length - 1) / 15;
    for (let i = 0; i < 16; i++) {
      mixed = Math.imul(mixed ^ (bytes[start + ((i * stride) | 0)] as number), 0x01000193);
    }
    mixed = Math.imul(mixed ^ (bytes[end - 2] as number), 0x01000193);
  }
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
  return mixed ^ (mixed >>> 13);
}

export function equal(
  bytes: Buffer,
  start: number,
  end: number,
  otherStart: number,
  otherEnd: number,
): boolean {
  if (end - start !== otherEnd - otherStart) return false;
  for (let i = start, j = otherStart; i < end; i++, j++) if (bytes[i] !== bytes[j]) return false;
  return true;
}
