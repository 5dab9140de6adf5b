/**
 * Writes a column of bytes in the codec its plan remembers. When a choice is due, every codec that applies is tried on the values (or a sample)
 * and the one that compresses best is taken.
 */

import { rankByFrequency } from '../ints/dict.ts';
import { encodeInts } from '../ints.ts';
import type { Plan } from '../plan.ts';
import type { StringCodec } from '../registry.ts';
import { pick, type Slices, totalBytes, widthOf } from '../slices.ts';
import { markOf, newSink, rewind, type StreamSink, sinkSize, weigh } from '../streams.ts';
import { ByteIndex, equal } from './byte-index.ts';
import { DEPTH_MAX, TextCode } from './codes.ts';
import { writePlain, writeTransposed } from './plain.ts';
import { parseUuids, writeUuids } from './uuid.ts';

/** In the order of their simplicity: a later one must be 3 % better. */
const BUILT_IN = [
  TextCode.raw,
  TextCode.plain,
  TextCode.transposed,
  TextCode.uuid,
  TextCode.uuidText,
  TextCode.dict,
];

/** Fewer bytes are left to be compressed together with other text, whatever they come to alone. */
const RAW_BYTES_MIN = 512;
/** Shorter columns are not worth a choice. */
const CHOICE_COUNT_MIN = 4;
const SAMPLE_MAX = 2048;
const GAIN_MIN = 0.97;
const GAIN_BYTES_MIN = 8;
const DICT_MAX = 65_536;

const index = new ByteIndex();

/** With these codecs tried beside the built-in ones. */
export function writeStrings(
  codecs: readonly StringCodec[],
  values: Slices,
  sink: StreamSink,
  plan: Plan,
  depth: number,
): void {
  const { count } = values;
  if (count === 0) return;
  if (allEqual(values)) {
    writeConstant(values, sink);
    return;
  }
  if (count < CHOICE_COUNT_MIN) {
    sink.numbers.u8(TextCode.plain);
    writePlain(values, sink, sink.text, plan);
    return;
  }
  const before = sinkSize(sink);
  const due = plan.due;
  if (due) choose(codecs, values, plan, depth);
  apply(codecs, plan.choice, values, sink, plan, depth);
  const bytes = sinkSize(sink) - before;
  if (due) plan.settle(plan.choice, bytes, count);
  else plan.observe(bytes, count);
}

function allEqual(values: Slices): boolean {
  const { bytes, starts, ends } = values;
  const start = starts[0] as number;
  const end = ends[0] as number;
  for (let i = 1; i < values.count; i++) {
    if (!equal(bytes, starts[i] as number, ends[i] as number, start, end)) return false;
  }
  return true;
}

function writeConstant(values: Slices, sink: StreamSink): void {
  const start = values.starts[0] as number;
  const end = values.ends[0] as number;
  sink.numbers.u8(TextCode.constant);
  sink.numbers.varint(end - start);
  sink.text.copy(values.bytes, start, end);
}

function choose(codecs: readonly StringCodec[], all: Slices, plan: Plan, depth: number): void {
  const values = all.count <= SAMPLE_MAX ? all : sample(all);
  const sink = newSink();
  let best: number = TextCode.plain;
  let least = Number.POSITIVE_INFINITY;
  const weighIn = (code: number): void => {
    if (code === TextCode.raw && totalBytes(values) < RAW_BYTES_MIN) return;
    const mark = markOf(sink);
    const applies = tryCode(codecs, code, values, sink, plan, depth);
    const bytes = applies ? weigh(sink, mark) : Number.POSITIVE_INFINITY;
    rewind(sink, mark);
    if (bytes > least * GAIN_MIN || bytes > least - GAIN_BYTES_MIN) return;
    best = code;
    least = bytes;
  };
  for (const code of BUILT_IN) weighIn(code);
  for (const codec of codecs) weighIn(codec.id);
  plan.settle(best, least, values.count);
}

function sample(values: Slices): Slices {
  const rows = new Uint32Array(SAMPLE_MAX);
  const piece = SAMPLE_MAX / 8;
  for (let i = 0; i < SAMPLE_MAX; i++) {
    const start = Math.floor((Math.floor(i / piece) * (values.count - piece)) / 7);
    rows[i] = start + (i % piece);
  }
  return pick(values, rows);
}

function apply(
  codecs: readonly StringCodec[],
  code: number,
  values: Slices,
  sink: StreamSink,
  plan: Plan,
  depth: number,
): void {
  const mark = markOf(sink);
  if (tryCode(codecs, code, values, sink, plan, depth)) return;
  rewind(sink, mark);
  sink.numbers.u8(TextCode.plain);
  writePlain(values, sink, sink.text, plan);
}

/** False when the codec does not apply; the sink may then hold a part of its output. */
function tryCode(
  codecs: readonly StringCodec[],
  code: number,
  values: Slices,
  sink: StreamSink,
  plan: Plan,
  depth: number,
): boolean {
  sink.numbers.u8(code);
  switch (code) {
    case TextCode.plain:
      writePlain(values, sink, sink.text, plan);
      return true;
    case TextCode.raw:
      writePlain(values, sink, sink.random, plan);
      return true;
    case TextCode.transposed:
      return writeTransposed(values, sink);
    case TextCode.uuid:
      if (widthOf(values) !== 16) return false;
      writeUuids(values, sink, plan.child('uuid'));
      return true;
    case TextCode.uuidText: {
      const parsed = depth < DEPTH_MAX ? parseUuids(values) : null;
      if (parsed === null) return false;
      writeStrings([], parsed, sink, plan.child('parsed'), depth + 1);
      return true;
    }
    case TextCode.dict:
      return depth < DEPTH_MAX && writeDict(codecs, values, sink, plan);
    default: {
      const codec = codecs.find((known) => known.id === code);
      return codec?.encode(values, sink, plan.child(codec.name)) ?? false;
    }
  }
}

function writeDict(codecs: readonly StringCodec[], values: Slices, sink: StreamSink, plan: Plan): boolean {
  const { count } = values;
  const limit = Math.min(DICT_MAX, Math.floor(count * 0.75));
  const ids = new Float64Array(count);
  if (!index.build(values, limit, ids)) return false;
  const distinct = index.count;
  const rank = rankByFrequency(ids, count, distinct);
  const rows = new Uint32Array(distinct);
  for (let id = 0; id < distinct; id++) rows[rank[id] as number] = index.first(id);
  for (let i = 0; i < count; i++) ids[i] = rank[ids[i] as number] as number;
  sink.numbers.varint(distinct);
  // Entries are distinct: a dictionary of them would never pay.
  writeStrings(codecs, pick(values, rows), sink, plan.child('entries'), DEPTH_MAX);
  encodeInts(ids, sink, plan.child('ids'));
  return true;
}
