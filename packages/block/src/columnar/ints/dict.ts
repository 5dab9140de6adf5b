/** Few distinct numbers: the numbers, commonest first, and for each value its place among them. */
import { corrupt } from '../../header.ts';
import { NumberIndex } from './number-index.ts';

/** More distinct values than this are not looked for. */
export const DICT_MAX = 4096;

const index = new NumberIndex();

export interface Dict {
  readonly values: Float64Array;
  /** Into `ids[0 .. count)`. */
  readonly ids: Float64Array;
}

/** Null when there are more than `limit` distinct values, or they collide. The ids are valid until `ids` is used again. */
export function findDict(values: Float64Array, count: number, limit: number, ids: Float64Array): Dict | null {
  index.clear(limit + 1);
  for (let i = 0; i < count; i++) {
    const id = index.add(values[i] as number);
    if (id < 0 || index.count > limit) return null;
    ids[i] = id;
  }
  const distinct = new Float64Array(index.count);
  const rank = rankByFrequency(ids, count, index.count);
  for (let id = 0; id < index.count; id++) distinct[rank[id] as number] = index.key(id);
  for (let i = 0; i < count; i++) ids[i] = rank[ids[i] as number] as number;
  return { values: distinct, ids };
}

/** For each id its place by falling frequency; equals keep the order of their first appearance. */
export function rankByFrequency(ids: Float64Array, count: number, distinct: number): Uint32Array {
  const times = new Uint32Array(distinct);
  for (let i = 0; i < count; i++) {
    const id = ids[i] as number;
    times[id] = (times[id] as number) + 1;
  }
  const keys = new Float64Array(distinct);
  // One sortable number for (frequency falling, id rising): both are below 2^26.
  for (let id = 0; id < distinct; id++) keys[id] = (count - (times[id] as number)) * 67108864 + id;
  keys.sort();
  const rank = new Uint32Array(distinct);
  for (let place = 0; place < distinct; place++) rank[(keys[place] as number) % 67108864] = place;
  return rank;
}

/** @throws DroverError `block.corrupt` */
export function expandDict(values: Float64Array, ids: Float64Array): Float64Array {
  const distinct = values.length;
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i] as number;
    if (id >= distinct) throw corrupt('a value refers outside its dictionary', { id, distinct });
    ids[i] = values[id] as number;
  }
  return ids;
}
