/**
 * Numbers for rows, by tenant and by the bytes of their key columns: 0 for the first that is asked for, and so on. Keys stand one after the other
 * in one buffer beside an open-addressing table, so that a change costs neither a string nor an entry of a Map (half of what folding cost).
 *
 * Keys are equal exactly when they are equal byte for byte, kinds and lengths of their columns included.
 */
import { randomInt } from 'node:crypto';
import { nextColumn, UNCHANGED } from '../changes/tuple.ts';
import { keyHash } from './key-hash.ts';

/** No number: a key column is an unchanged TOAST value, so that the tuple does not tell its key. */
export const NO_KEY = -1;

const SEED = [randomInt(2 ** 32) | 0, randomInt(2 ** 32) | 0] as const;
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
    const hash = keyHash(SEED[0], SEED[1] ^ tenant, this.#bytes, from, to);
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

function grown<T extends Int32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>>(array: T, needed: number): T {
  const Kind = array.constructor as new (length: number) => T;
  const larger = new Kind(Math.max(array.length * 2, needed));
  larger.set(array);
  return larger;
}
