/**
 * The transforms after which numbers are what their predecessors do not tell: offsets from a bound or from the middle, differences, their
 * differences, distance from a straight line; each divided by what all have in common. Ids are part of the format.
 */
import { corrupt } from '../../header.ts';
import { getSigned, putSigned, unzigzag, zigzag } from '../signed.ts';
import type { StreamSink, StreamSource } from '../streams.ts';
import { type Layout, readNaturals, writeNaturals } from './naturals.ts';

export const Linear = { offset: 1, center: 2, rise: 3, delta: 4, delta2: 5, trend: 6 } as const;
export type Linear = (typeof Linear)[keyof typeof Linear];
export const LINEAR_MAX = 6;

/** Residuals stay below this, so that all arithmetic is exact. */
const RESIDUAL_MAX = 2 ** 52;
const SAMPLES = 31;

/** What {@link measure} found out, with the residuals in `out`. */
export interface Residuals {
  readonly out: Float64Array;
  count: number;
  first: number;
  /** Bound, middle or slope, depending on the transform. */
  middle: number;
  divisor: number;
}

const sorted = new Float64Array(SAMPLES);

function median(values: Float64Array, count: number, lag: 0 | 1): number {
  const available = count - lag;
  const taken = Math.min(SAMPLES, available);
  for (let i = 0; i < taken; i++) {
    const at = lag + Math.floor((i * available) / taken);
    sorted[i] = (values[at] as number) - (lag === 1 ? (values[at - 1] as number) : 0);
  }
  sorted.subarray(0, taken).sort();
  return sorted[taken >> 1] as number;
}

/** Residuals of two or more values; false when they would not be exact. */
export function measure(kind: Linear, values: Float64Array, count: number, into: Residuals): boolean {
  const out = into.out;
  const first = values[0] as number;
  into.first = first;
  into.middle = 0;
  into.count = count - 1;
  let at = 0;
  switch (kind) {
    case Linear.offset: {
      let low = first;
      for (let i = 1; i < count; i++) if ((values[i] as number) < low) low = values[i] as number;
      for (let i = 0; i < count; i++) out[i] = (values[i] as number) - low;
      into.first = low;
      into.count = count;
      return divide(into);
    }
    case Linear.center: {
      const middle = median(values, count, 0);
      for (let i = 0; i < count; i++) out[i] = (values[i] as number) - middle;
      into.first = middle;
      into.count = count;
      return divide(into) && fold(into);
    }
    case Linear.rise: {
      let low = (values[1] as number) - first;
      for (let i = 1; i < count; i++) {
        const step = (values[i] as number) - (values[i - 1] as number);
        out[at++] = step;
        if (step < low) low = step;
      }
      for (let i = 0; i < at; i++) out[i] = (out[i] as number) - low;
      into.middle = low;
      return divide(into);
    }
    case Linear.delta: {
      const middle = median(values, count, 1);
      for (let i = 1; i < count; i++) {
        out[at++] = (values[i] as number) - (values[i - 1] as number) - middle;
      }
      into.middle = middle;
      return divide(into) && fold(into);
    }
    case Linear.delta2: {
      let before = 0;
      for (let i = 1; i < count; i++) {
        const step = (values[i] as number) - (values[i - 1] as number);
        out[at++] = step - before;
        before = step;
      }
      return divide(into) && fold(into);
    }
    case Linear.trend: {
      const slope = median(values, count, 1);
      if (Math.abs(slope) * count > RESIDUAL_MAX) return false;
      for (let i = 0; i < count; i++) out[i] = (values[i] as number) - first - slope * i;
      // The line goes through the middle of the values, not through the first, which may be off it.
      const off = median(out, count, 0);
      if (Math.abs(first + off) > RESIDUAL_MAX / 2) return false;
      for (let i = 0; i < count; i++) out[i] = (out[i] as number) - off;
      into.first = first + off;
      into.middle = slope;
      into.count = count;
      return divide(into) && fold(into);
    }
  }
}

/** Whether there is a residual for the first value too. */
function isWhole(kind: Linear): boolean {
  return kind === Linear.offset || kind === Linear.center || kind === Linear.trend;
}

/** Takes the greatest common divisor out. */
function divide(into: Residuals): boolean {
  const { out, count } = into;
  let divisor = 0;
  for (let i = 0; i < count && divisor !== 1; i++) divisor = gcd(divisor, Math.abs(out[i] as number));
  into.divisor = Math.max(1, divisor);
  if (divisor > 1) for (let i = 0; i < count; i++) out[i] = (out[i] as number) / divisor;
  return true;
}

function gcd(a: number, b: number): number {
  let x = a;
  let y = b;
  while (y !== 0) {
    const rest = x % y;
    x = y;
    y = rest;
  }
  return x;
}

function fold(into: Residuals): boolean {
  const { out, count } = into;
  let high = 0;
  for (let i = 0; i < count; i++) {
    const folded = zigzag(out[i] as number);
    out[i] = folded;
    if (folded > high) high = folded;
  }
  return high < RESIDUAL_MAX;
}

/** Bytes of what stands before the residuals, about. */
export function overheadBytes(kind: Linear): number {
  return kind === Linear.offset || kind === Linear.center ? 5 : 8;
}

export function writeLinear(kind: Linear, made: Residuals, layout: Layout, sink: StreamSink): void {
  putSigned(sink.numbers, made.first);
  sink.numbers.varint(made.divisor);
  if (kind >= Linear.rise && kind !== Linear.delta2) putSigned(sink.numbers, made.middle);
  writeNaturals(made.out, made.count, layout, sink);
}

/** @throws DroverError `block.corrupt` */
export function readLinear(source: StreamSource, count: number, kind: Linear, layout: number): Float64Array {
  const first = getSigned(source.numbers);
  const divisor = source.numbers.varint();
  const middle = kind >= Linear.rise && kind !== Linear.delta2 ? getSigned(source.numbers) : 0;
  if (count < 2) throw corrupt('a single number claims to have a predecessor');
  const out = new Float64Array(count);
  const whole = isWhole(kind);
  const residuals = whole ? out : out.subarray(1);
  readNaturals(source, residuals.length, layout, residuals);
  out[0] = whole ? (out[0] as number) : first;
  rebuild(kind, out, first, middle, divisor);
  return out;
}

function rebuild(kind: Linear, out: Float64Array, first: number, middle: number, divisor: number): void {
  const count = out.length;
  let value = first;
  switch (kind) {
    case Linear.offset:
      if (divisor === 1) for (let i = 0; i < count; i++) out[i] = (out[i] as number) + first;
      else for (let i = 0; i < count; i++) out[i] = (out[i] as number) * divisor + first;
      return;
    case Linear.center:
      for (let i = 0; i < count; i++) out[i] = unfold(out[i] as number) * divisor + first;
      return;
    case Linear.rise:
      for (let i = 1; i < count; i++) {
        value += (out[i] as number) * divisor + middle;
        out[i] = value;
      }
      return;
    case Linear.delta:
      for (let i = 1; i < count; i++) {
        value += unfold(out[i] as number) * divisor + middle;
        out[i] = value;
      }
      return;
    case Linear.delta2: {
      let step = 0;
      for (let i = 1; i < count; i++) {
        step += unfold(out[i] as number) * divisor;
        value += step;
        out[i] = value;
      }
      return;
    }
    case Linear.trend:
      for (let i = 0; i < count; i++) out[i] = first + middle * i + unfold(out[i] as number) * divisor;
  }
}

/** {@link unzigzag}, fast for what is nearly always the case. */
function unfold(folded: number): number {
  return folded < 2147483648 ? (folded >>> 1) ^ -(folded & 1) : unzigzag(folded);
}
