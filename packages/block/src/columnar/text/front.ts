/**
 * Text in order, or nearly (paths, keys of a table read by its key): of each value only what differs from the one before. General compression
 * finds the same beginnings, but pays for each.
 *
 * Lengths of the beginnings and of the rest as integers; the rest in stream `text`.
 */
import { corrupt } from '../../header.ts';
import type { Plan } from '../plan.ts';
import type { StringCodec } from '../registry.ts';
import type { Slices } from '../slices.ts';
import type { StreamSink, StreamSource } from '../streams.ts';
import type { Columns } from './codec.ts';
import { naturals } from './whole.ts';

const VALUES_MIN = 8;
/** Bytes a value shares with the one before on average; fewer are not worth their number. */
const SHARED_MIN = 4;

export function frontCodec(id: number, columns: Columns): StringCodec {
  return {
    id,
    name: 'front',
    encode: (values, sink, plan) => encode(columns, values, sink, plan),
    decode: (source, count) => decode(columns, source, count),
  };
}

function encode(columns: Columns, values: Slices, sink: StreamSink, plan: Plan): boolean {
  const { bytes, starts, ends, count } = values;
  if (count < VALUES_MIN) return false;
  const shared = new Float64Array(count);
  const rest = new Float64Array(count);
  let sum = 0;
  let before = 0;
  let beforeLength = 0;
  for (let i = 0; i < count; i++) {
    const start = starts[i] as number;
    const length = (ends[i] as number) - start;
    const most = Math.min(length, beforeLength);
    let same = 0;
    while (same < most && bytes[start + same] === bytes[before + same]) same++;
    shared[i] = same;
    rest[i] = length - same;
    sum += same;
    before = start;
    beforeLength = length;
  }
  if (sum < SHARED_MIN * count) return false;
  columns.encodeInts(shared, sink, plan.child('shared'));
  columns.encodeInts(rest, sink, plan.child('rest'));
  for (let i = 0; i < count; i++) {
    sink.text.copy(bytes, (starts[i] as number) + (shared[i] as number), ends[i] as number);
  }
  return true;
}

function decode(columns: Columns, source: StreamSource, count: number): Slices {
  const shared = naturals(columns, source, count, Number.MAX_SAFE_INTEGER);
  const rest = naturals(columns, source, count, source.text.left);
  let total = 0;
  let before = 0;
  for (let i = 0; i < count; i++) {
    const same = shared[i] as number;
    if (same > before) throw corrupt('a value shares more than there is', { same });
    before = same + (rest[i] as number);
    total += before;
  }
  source.spend(total + 8 * count);
  const bytes = Buffer.allocUnsafe(total);
  const starts = new Uint32Array(count);
  const ends = new Uint32Array(count);
  const text = source.text.bytes;
  let at = 0;
  let last = 0;
  for (let i = 0; i < count; i++) {
    const length = rest[i] as number;
    starts[i] = at;
    for (let k = 0; k < (shared[i] as number); k++) bytes[at++] = bytes[last + k] as number;
    let from = source.text.take(length);
    for (const end = from + length; from < end; from++) bytes[at++] = text[from] as number;
    last = starts[i] as number;
    ends[i] = at;
  }
  return { bytes, starts, ends, count };
}
