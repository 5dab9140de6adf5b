/** Whole numbers with a sign as natural ones, small when they are near 0. */
import type { ByteReader, ByteWriter } from './bytes.ts';

/** Codecs of the fast path take numbers up to here, so that a difference of two and its zigzag stay exact. */
export const NEAR_MAX = 2 ** 50;

/** |value| up to 2^52. */
export function zigzag(value: number): number {
  return value < 0 ? -2 * value - 1 : 2 * value;
}

export function unzigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}

export function putSigned(out: ByteWriter, value: number): void {
  out.varint(zigzag(value));
}

/** @throws DroverError `block.corrupt` */
export function getSigned(source: ByteReader): number {
  return unzigzag(source.varint());
}
