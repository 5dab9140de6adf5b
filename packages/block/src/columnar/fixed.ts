/** Whole numbers of a fixed width, big-endian as pgoutput sends them, to and from columns of numbers. */
import type { Ints } from './ints.ts';
import type { Slices } from './slices.ts';
import { viewOf } from './views.ts';

const TWO_32 = 4294967296;

/** Null when one value has another width. */
export function readFixed(values: Slices, width: number, signed: boolean): Ints | null {
  const { bytes, starts, ends, count } = values;
  for (let i = 0; i < count; i++) if ((ends[i] as number) - (starts[i] as number) !== width) return null;
  const from = viewOf(bytes);
  const out = new Float64Array(count);
  switch (width) {
    case 1:
      for (let i = 0; i < count; i++) out[i] = bytes[starts[i] as number] as number;
      return out;
    case 2:
      for (let i = 0; i < count; i++) out[i] = from.getInt16(starts[i] as number);
      return out;
    case 4:
      if (signed) for (let i = 0; i < count; i++) out[i] = from.getInt32(starts[i] as number);
      else for (let i = 0; i < count; i++) out[i] = from.getUint32(starts[i] as number);
      return out;
    default:
      return readWide(values, from, out);
  }
}

function readWide(values: Slices, from: DataView, out: Float64Array): Ints {
  const { starts, count } = values;
  for (let i = 0; i < count; i++) {
    const at = starts[i] as number;
    const high = from.getInt32(at);
    if (high >= 2097152 || high < -2097151) {
      return BigInt64Array.from({ length: count }, (_, row) => from.getBigInt64(starts[row] as number));
    }
    out[i] = high * TWO_32 + from.getUint32(at + 4);
  }
  return out;
}

/** Puts value i at `places[i]`. */
export function writeFixed(values: Ints, width: number, to: DataView, places: Int32Array): void {
  if (values instanceof BigInt64Array && width === 8) {
    for (let i = 0; i < places.length; i++) to.setBigInt64(places[i] as number, values[i] as bigint);
    return;
  }
  for (let i = 0; i < places.length; i++) putNumber(to, places[i] as number, width, Number(values[i]));
}

/** Of numbers wider than that the low bytes: only damaged blocks have them. */
export function putNumber(to: DataView, at: number, width: number, value: number): void {
  if (width === 8) {
    const high = Math.floor(value / TWO_32);
    to.setInt32(at, high);
    to.setInt32(at + 4, value - high * TWO_32);
  } else if (width === 4) to.setInt32(at, value);
  else if (width === 2) to.setInt16(at, value);
  else if (width === 1) to.setInt8(at, value);
}
