/**
 * Text with numbers in it (order numbers, paths, labels with a counter) as skeletons and columns of integers. Leading zeros are kept: the
 * digits of a run are as many as its number has, or as many in all values, or a column of their own. Values of no skeleton go on as text.
 *
 * | part | what |
 * | --- | --- |
 * | head | bytes in all, whether values are left over, skeletons: runs, literals in stream `text`, with their lengths or a zero behind each |
 * | ids | which skeleton each value has; 0 the left over ones, when there are any |
 * | per skeleton and run | how many digits, then the numbers; or which run before it says the same |
 * | pooled | 1: the numbers of all runs follow together instead, as one column, which suits many small ones of a kind |
 * | left over | as strings |
 */
import type { Plan } from './plan.ts';
import type { StringCodec } from './registry.ts';
import { pick, type Slices, totalBytes } from './slices.ts';
import { markOf, rewind, type StreamSink, sinkSize } from './streams.ts';
import { decodeTemplates, Literals, Width } from './template-read.ts';
import { SkeletonTable } from './template-skeleton.ts';
import {
  type Parts,
  runsOf,
  type SplitSkeleton,
  sameRuns,
  splitSkeleton,
  takeApart,
} from './template-split.ts';
import type { Columns } from './text/codec.ts';
import { digitsOf } from './text/digits.ts';

export function templateCodec(id: number, columns: Columns): StringCodec {
  return {
    id,
    name: 'template',
    encode: (values, sink, plan) => encode(columns, values, sink, plan.child('template')),
    decode: (source, count) => decodeTemplates(columns, source, count),
  };
}

function encode(columns: Columns, values: Slices, sink: StreamSink, plan: Plan): boolean {
  if (values.count === 0) return false;
  let table = plan.memory as SkeletonTable | undefined;
  if (table === undefined || table.full) table = new SkeletonTable();
  const parts = takeApart(values, table);
  plan.memory = parts === null ? undefined : table;
  if (parts === null) return false;
  const split = runsOf(parts, table).map(splitSkeleton);
  writeHead(values, parts, split, sink);
  const left = parts.leftOver.length > 0 ? 1 : 0;
  if (parts.used.length + left > 1) {
    columns.encodeInts(
      Float64Array.from(parts.ids, (id) => id + left),
      sink,
      plan.child('ids'),
    );
  }
  writeRuns(columns, split, sink, plan);
  if (left > 0) {
    columns.encodeStrings(pick(values, Uint32Array.from(parts.leftOver)), sink, plan.child('text'));
  }
  return true;
}

/** Per skeleton how many runs it has, of those that differ from row to row, and the text around them. */
function writeHead(values: Slices, parts: Parts, runs: readonly SplitSkeleton[], sink: StreamSink): void {
  sink.numbers.varint(totalBytes(values));
  sink.numbers.varint(parts.leftOver.length);
  sink.numbers.varint(parts.used.length);
  const measured = runs.some(({ literals }) => literals.some((literal) => literal.includes(0)));
  sink.numbers.u8(measured ? Literals.measured : Literals.terminated);
  for (const { literals, varying } of runs) {
    sink.numbers.varint(varying.length);
    for (const literal of literals) {
      sink.text.copy(literal, 0, literal.length);
      if (measured) sink.numbers.varint(literal.length);
      else sink.text.u8(0);
    }
  }
}

/** Several skeletons of few values: apart they cost a header each, together they may differ more. The smaller is remembered for a while. */
function writeRuns(columns: Columns, split: readonly SplitSkeleton[], sink: StreamSink, plan: Plan): void {
  const child = plan.child('pooled');
  const memory = child.memory as Pooling | undefined;
  if (memory !== undefined && memory.blocks > 0) {
    memory.blocks--;
    writeAllRuns(columns, split, memory.pooled && split.length > 1, sink, plan);
    return;
  }
  const mark = markOf(sink);
  const before = sinkSize(sink);
  writeAllRuns(columns, split, false, sink, plan);
  const apart = sinkSize(sink) - before;
  let pooled = false;
  if (split.length > 1) {
    rewind(sink, mark);
    writeAllRuns(columns, split, true, sink, plan);
    pooled = sinkSize(sink) - before < apart;
    if (!pooled) {
      rewind(sink, mark);
      writeAllRuns(columns, split, false, sink, plan);
    }
  }
  child.memory = { pooled, blocks: POOLING_BLOCKS } satisfies Pooling;
}

interface Pooling {
  readonly pooled: boolean;
  /** Until it is tried again. */
  blocks: number;
}

const POOLING_BLOCKS = 256;

function writeAllRuns(
  columns: Columns,
  split: readonly SplitSkeleton[],
  pooled: boolean,
  sink: StreamSink,
  plan: Plan,
): void {
  if (split.length > 1) sink.numbers.u8(pooled ? 1 : 0);
  const pool: Float64Array[] = [];
  for (const { skeleton, varying, numbers, widths } of split) {
    varying.forEach((run, place) => {
      const own = plan.child(`${skeleton.id}.${run}`);
      const values = numbers[run] as Float64Array;
      const digits = widths[run] as Uint8Array;
      const before = varying.findIndex((r) => sameRuns(values, digits, numbers[r], widths[r]));
      if (before < place) {
        sink.numbers.varint(Width.asBefore);
        sink.numbers.varint(before);
        return;
      }
      writeWidths(columns, values, digits, sink, own);
      if (pooled) pool.push(values);
      else columns.encodeInts(values, sink, own);
    });
  }
  if (pool.length > 0) columns.encodeInts(joined(pool), sink, plan.child('pool'));
}

function joined(parts: readonly Float64Array[]): Float64Array {
  const all = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function writeWidths(
  columns: Columns,
  numbers: Float64Array,
  widths: Uint8Array,
  sink: StreamSink,
  plan: Plan,
): void {
  const width = widths[0] as number;
  let natural = true;
  let fixed = true;
  for (let i = 0; i < widths.length; i++) {
    if (widths[i] !== width) fixed = false;
    if (natural && digitsOf(numbers[i] as number) !== widths[i]) natural = false;
  }
  sink.numbers.varint(natural ? Width.natural : fixed ? width : Width.follow);
  if (!natural && !fixed) columns.encodeInts(Float64Array.from(widths), sink, plan.child('widths'));
}
