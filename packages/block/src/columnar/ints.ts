/**
 * Columns of whole numbers, in whichever codec takes fewest bytes. A choice is remembered in the plan and checked by use: data it does not
 * suit any more is still encoded exactly, only larger.
 */
import { corrupt } from '../header.ts';
import { readInts } from './ints/read.ts';
import { writeInts } from './ints/write.ts';
import type { Plan } from './plan.ts';
import type { StreamSink, StreamSource } from './streams.ts';

/** Float64Array only when all values are safe integers. */
export type Ints = Float64Array | BigInt64Array;

export function encodeInts(values: Ints, sink: StreamSink, plan: Plan): void {
  writeInts(values, sink, plan);
}

/** @throws DroverError `block.corrupt` */
export function decodeInts(source: StreamSource, count: number): Ints {
  return readInts(source, count);
}

/** For columns that are never wide. @throws DroverError `block.corrupt` */
export function decodeNear(source: StreamSource, count: number): Float64Array {
  const out = readInts(source, count);
  if (!(out instanceof Float64Array)) throw corrupt('numbers are wider than they may be');
  return out;
}
