/**
 * Whole numbers of the full 64 bits. Mostly they are near ones with a few outliers (an infinite timestamp) or near each other (ids made of a
 * time); what is left is cut into two halves of 32 bits. Wide arithmetic stays out of the codecs proper.
 */
import { corrupt } from '../../header.ts';
import type { ByteReader, ByteWriter } from '../bytes.ts';
import { NEAR_MAX } from '../signed.ts';

const NEAR_HIGH = NEAR_MAX / 4294967296;

export function isNear(values: Float64Array): boolean {
  for (let i = 0; i < values.length; i++) if (!(Math.abs(values[i] as number) <= NEAR_MAX)) return false;
  return true;
}

export function widen(values: Float64Array): BigInt64Array {
  const out = new BigInt64Array(values.length);
  const words = new Int32Array(out.buffer);
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    words[2 * i] = value % 4294967296;
    words[2 * i + 1] = Math.floor(value / 4294967296);
  }
  return out;
}

/** As floats when all values are safe integers, as they are otherwise. */
export function narrow(values: BigInt64Array): Float64Array | BigInt64Array {
  const words = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  for (let i = 0; i < values.length; i++) {
    const high = words[2 * i + 1] as number;
    if (high >= 2097152 || high < -2097151) return values;
  }
  return Float64Array.from(values, Number);
}

/** High halves are signed, low ones are not; value = high · 2^32 + low. */
export interface Halves {
  readonly high: Float64Array;
  readonly low: Float64Array;
}

export function halves(values: BigInt64Array): Halves {
  const signed = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  const unsigned = new Uint32Array(values.buffer, values.byteOffset, values.length * 2);
  const out = { high: new Float64Array(values.length), low: new Float64Array(values.length) };
  for (let i = 0; i < values.length; i++) {
    out.low[i] = unsigned[2 * i] as number;
    out.high[i] = signed[2 * i + 1] as number;
  }
  return out;
}

export function join(high: Float64Array, low: Float64Array): BigInt64Array {
  const out = new BigInt64Array(high.length);
  const words = new Int32Array(out.buffer);
  for (let i = 0; i < high.length; i++) {
    words[2 * i] = low[i] as number;
    words[2 * i + 1] = high[i] as number;
  }
  return out;
}

export interface Outliers {
  /** The near values, outliers replaced by their predecessor. */
  readonly near: Float64Array;
  /** Places of the outliers, as gaps. */
  readonly gaps: Float64Array;
  readonly outliers: BigInt64Array;
}

/** Null when more than one value in four is far. */
export function findOutliers(values: BigInt64Array): Outliers | null {
  const { high, low } = halves(values);
  let far = 0;
  for (let i = 0; i < high.length; i++) if (isFar(high[i] as number)) far++;
  if (far * 4 > values.length) return null;
  const gaps = new Float64Array(far);
  const outliers = new BigInt64Array(far);
  let found = 0;
  let last = -1;
  let before = 0;
  for (let i = 0; i < high.length && before === 0; i++) {
    if (!isFar(high[i] as number)) before = (high[i] as number) * 4294967296 + (low[i] as number);
  }
  for (let i = 0; i < high.length; i++) {
    if (isFar(high[i] as number)) {
      gaps[found] = i - last - 1;
      outliers[found++] = values[i] as bigint;
      last = i;
      low[i] = before;
      continue;
    }
    before = (high[i] as number) * 4294967296 + (low[i] as number);
    low[i] = before;
  }
  return { near: low, gaps, outliers };
}

function isFar(high: number): boolean {
  return high >= NEAR_HIGH || high < -NEAR_HIGH;
}

/** Distances from the smallest value, or null when they are not near. */
export function findBase(values: BigInt64Array): { base: bigint; offsets: Float64Array } | null {
  let base = values[0] as bigint;
  let top = base;
  for (let i = 1; i < values.length; i++) {
    const value = values[i] as bigint;
    if (value < base) base = value;
    if (value > top) top = value;
  }
  if (top - base > BigInt(NEAR_MAX)) return null;
  const offsets = new Float64Array(values.length);
  for (let i = 0; i < values.length; i++) offsets[i] = Number((values[i] as bigint) - base);
  return { base, offsets };
}

/** Wraps around at 64 bits, so that damaged bytes cannot make it fail. */
export function rebase(base: bigint, offsets: Float64Array | BigInt64Array): BigInt64Array {
  const out = offsets instanceof Float64Array ? widen(offsets) : offsets;
  for (let i = 0; i < out.length; i++) out[i] = (out[i] as bigint) + base;
  return out;
}

/** @throws DroverError `block.corrupt` */
export function placeOutliers(
  near: BigInt64Array,
  gaps: Float64Array,
  outliers: BigInt64Array,
): BigInt64Array {
  let at = -1;
  for (let i = 0; i < gaps.length; i++) {
    at += (gaps[i] as number) + 1;
    if (!(at < near.length)) throw corrupt('an outlier stands outside its column');
    near[at] = outliers[i] as bigint;
  }
  return near;
}

export function putInt64(out: ByteWriter, value: bigint): void {
  out.reserve(8);
  out.size = out.bytes.writeBigInt64LE(value, out.size);
}

/** @throws DroverError `block.corrupt` */
export function getInt64(source: ByteReader): bigint {
  return source.bytes.readBigInt64LE(source.take(8));
}
