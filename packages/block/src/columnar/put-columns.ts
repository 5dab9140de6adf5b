/** One column's values into their records: per row kind, length and bytes. Views, because they write whole words wherever they stand. */
import { putNumber } from './fixed.ts';
import { type Flat, hasValue, kindAt } from './flat.ts';
import { CELL_BYTES, Kind } from './records.ts';
import type { Slices } from './slices.ts';
import { copyBytes, viewOf } from './views.ts';

/** One value per row at the cursors, which move on. */
export function putColumn(column: Flat, cursors: Int32Array, to: DataView): void {
  const { kind, ints, width, slices } = column;
  if (kind !== null && !hasValue(kind)) putKinds(kind, cursors, to);
  else if (kind !== null && ints instanceof Float64Array) putInts(ints, width, kind, cursors, to);
  else if (kind !== null && slices !== null) putSlices(slices, kind, cursors, to);
  else putMixed(column, cursors, to);
}

function putKinds(kind: number, cursors: Int32Array, to: DataView): void {
  for (let i = 0; i < cursors.length; i++) {
    const at = cursors[i] as number;
    to.setUint8(at, kind);
    cursors[i] = at + 1;
  }
}

function putInts(values: Float64Array, width: number, kind: number, cursors: Int32Array, to: DataView): void {
  for (let i = 0; i < cursors.length; i++) {
    const at = cursors[i] as number;
    to.setUint8(at, kind);
    to.setInt32(at + 1, width);
    putNumber(to, at + CELL_BYTES, width, values[i] as number);
    cursors[i] = at + CELL_BYTES + width;
  }
}

function putSlices(values: Slices, kind: number, cursors: Int32Array, to: DataView): void {
  const { bytes, starts, ends } = values;
  const from = viewOf(bytes);
  for (let i = 0; i < cursors.length; i++) {
    const at = cursors[i] as number;
    const start = starts[i] as number;
    const end = ends[i] as number;
    to.setUint8(at, kind);
    to.setInt32(at + 1, end - start);
    cursors[i] = copyBytes(from, start, end, to, at + CELL_BYTES);
  }
}

function putMixed(column: Flat, cursors: Int32Array, to: DataView): void {
  const { ints, width, slices } = column;
  const wide = ints instanceof BigInt64Array ? ints : null;
  const from = slices === null ? to : viewOf(slices.bytes);
  for (let i = 0; i < cursors.length; i++) {
    const at = cursors[i] as number;
    const kind = kindAt(column, i);
    to.setUint8(at, kind);
    if (kind === Kind.null || kind === Kind.unchanged) {
      cursors[i] = at + 1;
      continue;
    }
    const value = at + CELL_BYTES;
    if (slices !== null) {
      const start = slices.starts[i] as number;
      const end = slices.ends[i] as number;
      to.setInt32(at + 1, end - start);
      cursors[i] = copyBytes(from, start, end, to, value);
      continue;
    }
    to.setInt32(at + 1, width);
    if (wide !== null && width === 8) to.setBigInt64(value, wide[i] as bigint);
    else putNumber(to, value, width, Number(ints?.[i]));
    cursors[i] = value + width;
  }
}
