/**
 * float8 and float4. Most stored floats are decimals with few digits: see `floats/decimals.ts`. Other floats are byte planes, of the values or of
 * the bits that differ from the value before. Bits are carried as words or bytes, never as numbers, so that no NaN is quieted.
 */
import { corrupt } from '../header.ts';
import { readDecimals, writeDecimals } from './floats/decimals.ts';
import type { Plan } from './plan.ts';
import { fixedSlices, type Slices, widthOf } from './slices.ts';
import { markOf, newSink, rewind, type StreamSink, type StreamSource, sinkSize, weigh } from './streams.ts';
import { readTransposed, writeTransposed } from './strings/plain.ts';
import { decodeAmong, encodeAmong } from './strings.ts';

/** Part of the format. */
export const FloatCode = { bytes: 0, decimal: 1, changes: 2 } as const;
const CODES = 3;

const GAIN_MIN = 0.97;
const SAMPLE_MAX = 4096;

/** False, with nothing written, when a value is not `width` bytes long. */
export function encodeFloats(values: Slices, width: 4 | 8, sink: StreamSink, plan: Plan): boolean {
  if (widthOf(values) !== width) return false;
  if (plan.due) choose(values, width, plan);
  const mark = markOf(sink);
  const before = sinkSize(sink);
  if (!tryCode(plan.choice, values, width, sink, plan)) {
    rewind(sink, mark);
    tryCode(FloatCode.bytes, values, width, sink, plan);
  }
  plan.observe(sinkSize(sink) - before, values.count);
  return true;
}

function choose(all: Slices, width: 4 | 8, plan: Plan): void {
  const values = all.count <= SAMPLE_MAX ? all : head(all);
  let best: number = FloatCode.bytes;
  let least = Number.POSITIVE_INFINITY;
  let size = 0;
  for (let code = 0; code < CODES; code++) {
    const sink = newSink();
    if (!tryCode(code, values, width, sink, plan)) continue;
    const bytes = weigh(sink, { numbers: 0, planes: 0, text: 0, random: 0 });
    if (bytes >= least * GAIN_MIN) continue;
    best = code;
    least = bytes;
    size = sinkSize(sink);
  }
  plan.settle(best, size, values.count);
}

function head(values: Slices): Slices {
  const starts = values.starts.subarray(0, SAMPLE_MAX);
  return { bytes: values.bytes, starts, ends: values.ends.subarray(0, SAMPLE_MAX), count: SAMPLE_MAX };
}

function tryCode(code: number, values: Slices, width: 4 | 8, sink: StreamSink, plan: Plan): boolean {
  sink.numbers.u8(code);
  switch (code) {
    case FloatCode.decimal:
      return writeDecimals(values, width, sink, plan);
    case FloatCode.changes:
      return writeTransposed(changes(values, width), sink);
    default:
      encodeAmong([], values, sink, plan.child('bytes'), 0);
      return true;
  }
}

/** Each value's bits that differ from the one before. */
function changes(values: Slices, width: number): Slices {
  const { bytes, starts, count } = values;
  const out = Buffer.allocUnsafe(count * width);
  for (let i = 0; i < count; i++) {
    const at = starts[i] as number;
    const before = i === 0 ? -1 : (starts[i - 1] as number);
    for (let j = 0; j < width; j++) {
      out[i * width + j] = (bytes[at + j] as number) ^ (before < 0 ? 0 : (bytes[before + j] as number));
    }
  }
  return fixedSlices(out, 0, width, count);
}

/** @throws DroverError `block.corrupt` */
export function decodeFloats(source: StreamSource, count: number, width: 4 | 8): Slices {
  const code = source.numbers.u8();
  switch (code) {
    case FloatCode.bytes:
      return decodeAmong([], source, count, 0);
    case FloatCode.decimal:
      return readDecimals(source, count, width);
    case FloatCode.changes: {
      const { bytes, width: stored } = readTransposed(source, count);
      if (stored !== width) throw corrupt('a column of floats has the wrong width', { width: stored });
      for (let i = width; i < bytes.length; i++)
        bytes[i] = (bytes[i] as number) ^ (bytes[i - width] as number);
      return fixedSlices(bytes, 0, width, count);
    }
    default:
      throw corrupt('floats are coded in an unknown way', { code });
  }
}
