/** Writes a column of whole numbers in the codec its plan remembers, after choosing one when that is due. */
import type { Ints } from '../ints.ts';
import type { Plan } from '../plan.ts';
import { Scratch, scratch } from '../scratch.ts';
import { putSigned } from '../signed.ts';
import { type StreamSink, sinkSize, trialSink } from '../streams.ts';
import { chooseCode, residualsOf } from './choose.ts';
import { Code, codeOf, DEPTH_MAX, header, layoutOf } from './codes.ts';
import { followCursors } from './cursor.ts';
import { DICT_MAX, findDict } from './dict.ts';
import { LINEAR_MAX, Linear, measure, writeLinear } from './linear.ts';
import { admissible, Layout, putNaturals, weighNaturals, writeNaturals } from './naturals.ts';
import { countRuns, findRuns } from './runs.ts';
import { commonStep, writeStep } from './step.ts';
import { findBase, findOutliers, halves, isNear, putInt64, widen } from './wide.ts';

/** Shorter columns are written one by one. */
const PLAIN_MAX = 3;

export function writeInts(values: Ints, sink: StreamSink, plan: Plan): void {
  if (values.length === 0) return;
  if (values instanceof BigInt64Array) writeWide(values, sink, plan);
  else if (!isNear(values)) writeWide(widen(values), sink, plan);
  else writeNear(values, sink, plan, 0);
}

function writeNear(values: Float64Array, sink: StreamSink, plan: Plan, depth: number): void {
  const count = values.length;
  if (isConstant(values)) {
    sink.numbers.u8(header(Code.constant, Layout.zero));
    putSigned(sink.numbers, values[0] as number);
    return;
  }
  if (count <= PLAIN_MAX) {
    sink.numbers.u8(header(Code.plain, Layout.zero));
    for (let i = 0; i < count; i++) putSigned(sink.numbers, values[i] as number);
    return;
  }
  const before = sinkSize(sink);
  const due = plan.due;
  if (due) {
    const chosen = chooseCode(values, depth === 0 ? trialSink() : null);
    plan.settle(chosen.header, 0, count);
  }
  apply(plan.choice, values, sink, plan, depth);
  const bytes = sinkSize(sink) - before;
  if (due) plan.settle(plan.choice, bytes, count);
  else plan.observe(bytes, count);
}

function isConstant(values: Float64Array): boolean {
  const first = values[0];
  for (let i = 1; i < values.length; i++) if (values[i] !== first) return false;
  return true;
}

/** Writes with the chosen codec, or with differences when its precondition does not hold for these values. */
function apply(choice: number, values: Float64Array, sink: StreamSink, plan: Plan, depth: number): void {
  const code = codeOf(choice);
  if (code >= 1 && code <= LINEAR_MAX) {
    writeResiduals(code as Linear, layoutOf(choice), values, sink);
    return;
  }
  let written = false;
  if (code === Code.step) written = writeSteps(values, sink);
  else if (depth < DEPTH_MAX) {
    if (code === Code.runs) written = writeRuns(values, sink, plan, depth);
    else if (code === Code.dict) written = writeDict(values, layoutOf(choice), sink, plan, depth);
    else if (code === Code.cursor) written = writeCursor(values, layoutOf(choice), sink, plan, depth);
  }
  if (!written) writeResiduals(Linear.delta, Layout.rans, values, sink);
}

function writeSteps(values: Float64Array, sink: StreamSink): boolean {
  const count = values.length;
  const step = commonStep(values, count, 4);
  if (step === null) return false;
  sink.numbers.u8(header(Code.step, Layout.zero));
  writeStep(values, count, step, sink);
  return true;
}

function writeResiduals(wanted: Linear, layout: Layout, values: Float64Array, sink: StreamSink): void {
  const count = values.length;
  const made = residualsOf(count);
  let kind = wanted;
  if (!measure(kind, values, count, made)) {
    // Always exact for near numbers.
    kind = Linear.offset;
    measure(kind, values, count, made);
  }
  const fits =
    kind === wanted ? fit(layout, made.out, made.count) : weighNaturals(made.out, made.count).layout;
  sink.numbers.u8(header(kind, fits));
  writeLinear(kind, made, fits, sink);
}

function fit(wanted: Layout, values: Float64Array, count: number): Layout {
  const layout = admissible(wanted, values, count);
  return layout === wanted ? layout : weighNaturals(values, count).layout;
}

function writeRuns(values: Float64Array, sink: StreamSink, plan: Plan, depth: number): boolean {
  if (countRuns(values, values.length) * 4 > values.length * 3) return false;
  const runs = findRuns(values, values.length);
  sink.numbers.u8(header(Code.runs, Layout.zero));
  sink.numbers.varint(runs.values.length);
  writeNear(runs.values, sink, plan.child('values'), depth + 1);
  writeNear(runs.lengths, sink, plan.child('lengths'), depth + 1);
  return true;
}

function writeDict(
  values: Float64Array,
  wanted: Layout,
  sink: StreamSink,
  plan: Plan,
  depth: number,
): boolean {
  const count = values.length;
  const limit = Math.min(DICT_MAX, Math.ceil(count * 0.75));
  // Its own array: what is nested uses the same scratch.
  const dict = findDict(values, count, limit, new Float64Array(count));
  if (dict === null) return false;
  const layout = fit(wanted, dict.ids, count);
  sink.numbers.u8(header(Code.dict, layout));
  sink.numbers.varint(dict.values.length);
  writeNear(dict.values, sink, plan.child('values'), depth + 1);
  writeNaturals(dict.ids, count, layout, sink);
  return true;
}

function writeCursor(
  values: Float64Array,
  wanted: Layout,
  sink: StreamSink,
  plan: Plan,
  depth: number,
): boolean {
  const count = values.length;
  const places = scratch(Scratch.trial, count);
  const misses = new Float64Array(count);
  const missed = followCursors(values, count, 1, places, misses);
  if (missed * 2 > count) return false;
  const layout = fit(wanted, places, count);
  sink.numbers.u8(header(Code.cursor, layout));
  writeNaturals(places, count, layout, sink);
  writeNear(misses.subarray(0, missed), sink, plan.child('misses'), depth + 1);
  return true;
}

function writeWide(values: BigInt64Array, sink: StreamSink, plan: Plan): void {
  const found = findOutliers(values);
  if (found !== null) {
    sink.numbers.u8(header(Code.exceptions, Layout.zero));
    sink.numbers.varint(found.gaps.length);
    if (found.gaps.length > 0) putNaturals(found.gaps, found.gaps.length, sink);
    for (const outlier of found.outliers) putInt64(sink.numbers, outlier);
    writeNear(found.near, sink, plan, 0);
    return;
  }
  const based = findBase(values);
  if (based !== null) {
    sink.numbers.u8(header(Code.based, Layout.zero));
    putInt64(sink.numbers, based.base);
    writeNear(based.offsets, sink, plan.child('offsets'), 0);
    return;
  }
  sink.numbers.u8(header(Code.halves, Layout.zero));
  const { high, low } = halves(values);
  writeNear(high, sink, plan.child('high'), 0);
  writeNear(low, sink, plan.child('low'), 0);
}
