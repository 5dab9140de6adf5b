/**
 * Numbers for rows, by tenant and by the bytes of their key columns: 0 for the first that is asked for, and so on. Keys stand one after the other
 * in one buffer beside an open-addressing table, so that a change costs neither a string nor an entry of a Map (half of what folding cost).
 *
 * Keys are equal exactly when they are equal byte for byte, kinds and lengths of their columns included. Hashes begin with a number of this
 * process; keys that were made to collide cost their batch time, which is bounded as batches are.
 */
import { randomInt } from 'node:crypto';
import { nextColumn, UNCHANGED } from '../changes/tuple.ts';

/** No number: a key column is an unchanged TOAST value, so that the tuple does not tell its key. */
export const NO_KEY = -1;

const SEED = randomInt(2 ** 31);
const FIRST_ROWS = 256;
const FIRST_BYTES = FIRST_ROWS * 24;

export class KeyTable {
  readonly #columns: readonly number[];
  #size = 0;
  /** Number + 1 of the key that lies there; 0: none. At least twice as many as keys, a power of two. */
  #slots = new Int32Array(FIRST_ROWS * 2);
  /** By number. */
  #hashes = new Int32Array(FIRST_ROWS);
  #tenants = new Int32Array(FIRST_ROWS);
  /** By number, where its key begins; behind the last, where it ends. */
  #starts = new Int32Array(FIRST_ROWS + 1);
  #bytes = new Uint8Array(FIRST_BYTES);

  /** @param columns the key's columns as indexes in the tuples, ascending */
  constructor(columns: readonly number[]) {
    this.#columns = columns;
  }

  get size(): number {
    return this.#size;
  }

  /** The number of the tenant's row with the key in the tuple at `start`: {@link size} as it was before when it is new; or {@link NO_KEY}. */
  numberOf(tenant: number, bytes: Buffer, start: number, end: number): number {
    const from = this.#starts[this.#size] as number;
    const to = this.#take(from, bytes, start, end);
    if (to === NO_KEY) return NO_KEY;
    const hash = this.#hash(tenant, from, to);
    const mask = this.#slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const number = (this.#slots[slot] as number) - 1;
      if (number < 0) return this.#add(slot, hash, tenant, to);
      if (this.#hashes[number] === hash && this.#tenants[number] === tenant && this.#equal(number, from, to))
        return number;
    }
  }

  /** Copies the key's columns behind the last key. @returns where it ends */
  #take(from: number, tuple: Buffer, start: number, end: number): number {
    let to = from;
    let at = start + 2;
    let index = 0;
    for (const wanted of this.#columns) {
      for (; index < wanted; index++) at = nextColumn(tuple, at, end);
      if (tuple[at] === UNCHANGED) return NO_KEY;
      const next = nextColumn(tuple, at, end);
      const length = next - at;
      if (to + length > this.#bytes.length) this.#bytes = grown(this.#bytes, to + length);
      const keys = this.#bytes;
      for (let i = 0; i < length; i++) keys[to + i] = tuple[at + i] as number;
      to += length;
      at = next;
      index++;
    }
    return to;
  }

  /** Four bytes a step and an end as MurmurHash3 has them (Appleby, x86 32). */
  #hash(tenant: number, from: number, to: number): number {
    const keys = this.#bytes;
    let hash = SEED ^ Math.imul(tenant, 0x9e3779b1);
    let at = from;
    for (; at + 4 <= to; at += 4) {
      const word =
        (keys[at] as number) |
        ((keys[at + 1] as number) << 8) |
        ((keys[at + 2] as number) << 16) |
        ((keys[at + 3] as number) << 24);
      hash = mixed(hash, word);
    }
    let rest = to - from;
    for (; at < to; at++) rest = (rest << 8) | (keys[at] as number);
    hash = mixed(hash, rest);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return hash ^ (hash >>> 16);
  }

  #equal(number: number, from: number, to: number): boolean {
    const start = this.#starts[number] as number;
    const length = to - from;
    if ((this.#starts[number + 1] as number) - start !== length) return false;
    const keys = this.#bytes;
    for (let i = 0; i < length; i++) if (keys[start + i] !== keys[from + i]) return false;
    return true;
  }

  #add(slot: number, hash: number, tenant: number, to: number): number {
    const number = this.#size++;
    this.#slots[slot] = number + 1;
    if (number === this.#hashes.length) {
      this.#hashes = grown(this.#hashes, number + 1);
      this.#tenants = grown(this.#tenants, number + 1);
      this.#starts = grown(this.#starts, number + 2);
    }
    this.#hashes[number] = hash;
    this.#tenants[number] = tenant;
    this.#starts[number + 1] = to;
    if (this.#size * 2 > this.#slots.length) this.#spread();
    return number;
  }

  #spread(): void {
    const slots = new Int32Array(this.#slots.length * 2);
    const mask = slots.length - 1;
    for (let number = 0; number < this.#size; number++) {
      let slot = (this.#hashes[number] as number) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = number + 1;
    }
    this.#slots = slots;
  }
}

function mixed(hash: number, word: number): number {
  const k = Math.imul(word, 0xcc9e2d51);
  const h = hash ^ Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

function grown<T extends Int32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>>(array: T, needed: number): T {
  const Kind = array.constructor as new (length: number) => T;
  const larger = new Kind(Math.max(array.length * 2, needed));
  larger.set(array);
  return larger;
}
