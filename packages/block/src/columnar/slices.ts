/** Values as places in a buffer: how columns of bytes are handed about without a copy or an object per value. */
import { copyBytes, viewOf } from './views.ts';

export interface Slices {
  readonly bytes: Buffer;
  /** Value i is `bytes[starts[i] .. ends[i])`. */
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
  readonly count: number;
}

/** The values at `rows`, in that order. */
export function pick(values: Slices, rows: Uint32Array): Slices {
  const starts = new Uint32Array(rows.length);
  const ends = new Uint32Array(rows.length);
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i] as number;
    starts[i] = values.starts[row] as number;
    ends[i] = values.ends[row] as number;
  }
  return { bytes: values.bytes, starts, ends, count: rows.length };
}

/** One fixed width for all of them, or -1. */
export function widthOf(values: Slices): number {
  if (values.count === 0) return -1;
  const width = (values.ends[0] as number) - (values.starts[0] as number);
  for (let i = 1; i < values.count; i++) {
    if ((values.ends[i] as number) - (values.starts[i] as number) !== width) return -1;
  }
  return width;
}

/** `count` values of `width` bytes, one after the other from `start`. */
export function fixedSlices(bytes: Buffer, start: number, width: number, count: number): Slices {
  const starts = new Uint32Array(count);
  const ends = new Uint32Array(count);
  let at = start;
  for (let i = 0; i < count; i++) {
    starts[i] = at;
    at += width;
    ends[i] = at;
  }
  return { bytes, starts, ends, count };
}

/** The values one after the other, in `out`, which has room for them. */
export function gather(values: Slices, out: Buffer, at: number): number {
  const { starts, ends, count } = values;
  const from = viewOf(values.bytes);
  const into = viewOf(out);
  let to = at;
  for (let i = 0; i < count; i++) to = copyBytes(from, starts[i] as number, ends[i] as number, into, to);
  return to;
}

export function totalBytes(values: Slices): number {
  let total = 0;
  for (let i = 0; i < values.count; i++) total += (values.ends[i] as number) - (values.starts[i] as number);
  return total;
}
