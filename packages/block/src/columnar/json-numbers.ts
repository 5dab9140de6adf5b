/** Numbers of one path as integers: their digits, and the place of the point said once where it can be. The text is rendered exactly. */

import { corrupt } from '../header.ts';
import type { Plan } from './plan.ts';
import type { StreamSink, StreamSource } from './streams.ts';
import type { Columns } from './text/codec.ts';
import { DIGITS_MAX, POWERS } from './text/digits.ts';
import { naturals, wholeNumbers } from './text/whole.ts';

/**
 * Part of the format; the number written is mode + 4 * scale. fixed: all have `scale` digits behind the point. trimmed: all are multiples of
 * 10^-scale printed without trailing zeros. mixed: a column of scales follows.
 */
const Mode = { fixed: 0, trimmed: 1, mixed: 2 } as const;
const MODES = 4;
const MANTISSA_END = POWERS[DIGITS_MAX] as number;

export interface Decimals {
  readonly mantissas: Float64Array;
  readonly scales: Uint8Array;
}

export function encodeNumbers(columns: Columns, numbers: Decimals, sink: StreamSink, plan: Plan): void {
  const { mantissas, scales } = numbers;
  let low = DIGITS_MAX;
  let high = 0;
  for (let i = 0; i < scales.length; i++) {
    const scale = scales[i] as number;
    if (scale < low) low = scale;
    if (scale > high) high = scale;
  }
  if (low === high) {
    sink.numbers.varint(Mode.fixed + MODES * high);
    columns.encodeInts(mantissas, sink, plan);
    return;
  }
  const aligned = align(numbers, high);
  if (aligned !== null) {
    sink.numbers.varint(Mode.trimmed + MODES * high);
    columns.encodeInts(aligned, sink, plan);
    return;
  }
  sink.numbers.varint(Mode.mixed);
  columns.encodeInts(Float64Array.from(scales), sink, plan.child('scales'));
  columns.encodeInts(mantissas, sink, plan);
}

/** All as multiples of 10^-scale; null when one has a trailing zero, which would be lost, or too many digits. */
function align(numbers: Decimals, scale: number): Float64Array | null {
  const { mantissas, scales } = numbers;
  const aligned = new Float64Array(mantissas.length);
  for (let i = 0; i < mantissas.length; i++) {
    const mantissa = mantissas[i] as number;
    const own = scales[i] as number;
    if (own > 0 && Math.floor(mantissa / 10) * 10 === mantissa) return null;
    const value = mantissa * (POWERS[scale - own] as number);
    if (!(Math.abs(value) < MANTISSA_END)) return null;
    aligned[i] = value;
  }
  return aligned;
}

/** @throws DroverError `block.corrupt` */
export function decodeNumbers(columns: Columns, source: StreamSource, count: number): Decimals {
  const word = source.numbers.varint();
  const mode = word % MODES;
  const scale = (word - mode) / MODES;
  if (mode > Mode.mixed || scale > DIGITS_MAX) throw corrupt('numbers have no such scale', { word });
  source.spend(count);
  const scales = new Uint8Array(count);
  if (mode === Mode.mixed) {
    const given = naturals(columns, source, count, DIGITS_MAX);
    for (let i = 0; i < count; i++) scales[i] = given[i] as number;
  } else {
    scales.fill(scale);
  }
  const mantissas = wholeNumbers(columns, source, count);
  for (let i = 0; i < count; i++) {
    const mantissa = mantissas[i] as number;
    if (!(Math.abs(mantissa) < MANTISSA_END)) throw corrupt('a number has too many digits');
    if (mode === Mode.trimmed) trim(mantissas, scales, i);
  }
  return { mantissas, scales };
}

function trim(mantissas: Float64Array, scales: Uint8Array, i: number): void {
  let mantissa = mantissas[i] as number;
  let scale = scales[i] as number;
  while (scale > 0) {
    const tenth = Math.floor(mantissa / 10);
    if (tenth * 10 !== mantissa) break;
    mantissa = tenth;
    scale--;
  }
  mantissas[i] = mantissa;
  scales[i] = scale;
}
