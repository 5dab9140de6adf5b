/** Which codec suits a column of near numbers: every one is weighed by the bits it would take, the simpler wins unless another is 3 % better. */
import { zstdBytes } from '../frames.ts';
import { Scratch, scratch } from '../scratch.ts';
import type { StreamSink } from '../streams.ts';
import { Code, header } from './codes.ts';
import { followCursors } from './cursor.ts';
import { DICT_MAX, findDict } from './dict.ts';
import { LINEAR_MAX, Linear, measure, overheadBytes, type Residuals } from './linear.ts';
import { Layout, weighNaturals, writeNaturals } from './naturals.ts';
import { countRuns, findRuns } from './runs.ts';
import { commonStep } from './step.ts';

/** Longer columns are judged by four pieces of a quarter of this. */
const SAMPLE_MAX = 4096;
const GAIN_MIN = 0.97;
const GAIN_BITS_MIN = 16;
/** A zstd call to see whether byte planes repeat pays from here on. */
const PLANES_COUNT_MIN = 64;

interface Choice {
  header: number;
  bits: number;
}

export function residualsOf(count: number): Residuals {
  return { out: scratch(Scratch.residuals, count), count: 0, first: 0, middle: 0, divisor: 1 };
}

/** @returns header byte, and bytes per value. `trials`: a sink whose content does not matter, for what only compressing tells. */
export function chooseCode(
  all: Float64Array,
  trials: StreamSink | null,
): { header: number; bytesPerValue: number } {
  const values = all.length <= SAMPLE_MAX ? all : sample(all);
  const count = values.length;
  const best: Choice = { header: -1, bits: Number.POSITIVE_INFINITY };
  for (let kind = 1; kind <= LINEAR_MAX; kind++) {
    const made = residualsOf(count);
    if (!measure(kind as Linear, values, count, made)) continue;
    const { layout, bits } = weighNaturals(made.out, made.count);
    consider(best, header(kind, layout), bits + overheadBytes(kind as Linear) * 8);
    const asPlanes = kind === Linear.offset || kind === Linear.delta;
    if (!asPlanes || trials === null || count < PLANES_COUNT_MIN) continue;
    consider(best, header(kind, Layout.planes), planesBits(made.out, made.count, trials) + 48);
  }
  considerStep(best, values);
  considerRuns(best, values);
  considerDict(best, values, trials);
  considerCursor(best, values);
  return { header: best.header, bytesPerValue: best.bits / 8 / count };
}

function consider(best: Choice, code: number, bits: number): void {
  if (bits > best.bits * GAIN_MIN || bits > best.bits - GAIN_BITS_MIN) return;
  best.header = code;
  best.bits = bits;
}

function planesBits(values: Float64Array, count: number, trials: StreamSink): number {
  trials.planes.size = 0;
  trials.numbers.size = 0;
  writeNaturals(values, count, Layout.planes, trials);
  return zstdBytes(trials.planes.written) * 8;
}

function considerStep(best: Choice, values: Float64Array): void {
  const count = values.length;
  const step = commonStep(values, count, 8);
  if (step === null) return;
  const gaps = scratch(Scratch.trial, count);
  let exceptions = 0;
  let last = 0;
  for (let i = 1; i < count; i++) {
    if ((values[i] as number) - (values[i - 1] as number) === step) continue;
    gaps[exceptions++] = i - last - 1;
    last = i;
  }
  let bits = 8 * 9 + (exceptions === 0 ? 0 : 16 + weighNaturals(gaps, exceptions).bits);
  let at = 0;
  for (let i = 1; i < count; i++) {
    const difference = (values[i] as number) - (values[i - 1] as number) - step;
    if (difference !== 0) gaps[at++] = Math.abs(difference) * 2;
  }
  if (exceptions > 0) bits += weighNaturals(gaps, exceptions).bits;
  consider(best, header(Code.step, Layout.zero), bits);
}

/** Bits of a small column that is encoded by itself, by its better one of two plain codecs. */
function nestedBits(values: Float64Array): number {
  if (values.length < 2) return 64;
  const made = residualsOf(values.length);
  measure(Linear.offset, values, values.length, made);
  let bits = weighNaturals(made.out, made.count).bits;
  if (measure(Linear.delta, values, values.length, made)) {
    bits = Math.min(bits, weighNaturals(made.out, made.count).bits);
  }
  return bits + 56;
}

function considerRuns(best: Choice, values: Float64Array): void {
  if (countRuns(values, values.length) * 2 > values.length) return;
  const runs = findRuns(values, values.length);
  consider(best, header(Code.runs, Layout.zero), nestedBits(runs.values) + nestedBits(runs.lengths) + 24);
}

function considerDict(best: Choice, values: Float64Array, trials: StreamSink | null): void {
  const count = values.length;
  const limit = Math.min(DICT_MAX, count >> 1);
  const dict = findDict(values, count, limit, scratch(Scratch.ids, count));
  if (dict === null) return;
  const fixed = nestedBits(dict.values) + 24;
  const { layout, bits } = weighNaturals(dict.ids, count);
  consider(best, header(Code.dict, layout), bits + fixed);
  if (trials === null || count < PLANES_COUNT_MIN) return;
  consider(best, header(Code.dict, Layout.planes), planesBits(dict.ids, count, trials) + fixed);
}

function considerCursor(best: Choice, values: Float64Array): void {
  const count = values.length;
  if (count < 32) return;
  const places = scratch(Scratch.trial, count);
  const misses = new Float64Array(count);
  const missed = followCursors(values, count, 1, places, misses);
  if (missed * 3 > count) return;
  const { layout, bits } = weighNaturals(places, count);
  consider(best, header(Code.cursor, layout), bits + nestedBits(misses.slice(0, missed)) + 24);
}

/** Four pieces at even distances, as one column. */
function sample(values: Float64Array): Float64Array {
  const out = new Float64Array(SAMPLE_MAX);
  const piece = SAMPLE_MAX / 4;
  for (let i = 0; i < 4; i++) {
    const start = Math.floor((i * (values.length - piece)) / 3);
    out.set(values.subarray(start, start + piece), i * piece);
  }
  return out;
}
