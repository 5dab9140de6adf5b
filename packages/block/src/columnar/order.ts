/** The order that brings rows with equal values of a key column together; rows of one value keep their order. */
import { NumberIndex } from './ints/number-index.ts';
import type { Slices } from './slices.ts';
import { ByteIndex } from './strings/byte-index.ts';

const numbers = new NumberIndex();
const byteStrings = new ByteIndex();

/** Groups of rows: `rows` in their new order. Null when the key has too many values, or none. */
export interface Order {
  readonly rows: Uint32Array;
  readonly distinct: number;
}

/** Null when the values collide too much to be told apart cheaply: the same on both sides, as it depends on nothing but them. */
export function orderByInts(values: Float64Array): Order | null {
  const ids = new Float64Array(values.length);
  numbers.clear(values.length);
  for (let i = 0; i < values.length; i++) {
    const id = numbers.add(values[i] as number);
    if (id < 0) return null;
    ids[i] = id;
  }
  return arrange(ids, numbers.count);
}

/** Null as above. */
export function orderByBytes(values: Slices): Order | null {
  const ids = new Float64Array(values.count);
  if (!byteStrings.build(values, values.count, ids)) return null;
  return arrange(ids, byteStrings.count);
}

function arrange(ids: Float64Array, distinct: number): Order {
  const next = new Uint32Array(distinct + 1);
  for (let i = 0; i < ids.length; i++) {
    const after = (ids[i] as number) + 1;
    next[after] = (next[after] as number) + 1;
  }
  for (let id = 1; id <= distinct; id++) next[id] = (next[id] as number) + (next[id - 1] as number);
  const rows = new Uint32Array(ids.length);
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i] as number;
    const place = next[id] as number;
    rows[place] = i;
    next[id] = place + 1;
  }
  return { rows, distinct };
}
