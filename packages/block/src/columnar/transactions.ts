/** What every begin record says, as three columns; and which transaction a row belongs to. */
import { readFixed, writeFixed } from './fixed.ts';
import { isNear } from './ints/wide.ts';
import { decodeInts, encodeInts, type Ints } from './ints.ts';
import type { Plan } from './plan.ts';
import type { Slices } from './slices.ts';
import type { StreamSink, StreamSource } from './streams.ts';
import { viewOf } from './views.ts';

export interface Begins {
  readonly lsns: Ints;
  readonly times: Ints;
  readonly xids: Ints;
}

export function readBegins(body: Buffer, places: Uint32Array): Begins {
  const count = places.length;
  const field = (offset: number, width: number): Slices => {
    const starts = new Uint32Array(count);
    const ends = new Uint32Array(count);
    for (let i = 0; i < count; i++) {
      starts[i] = (places[i] as number) + offset;
      ends[i] = (places[i] as number) + offset + width;
    }
    return { bytes: body, starts, ends, count };
  };
  return {
    lsns: readFixed(field(0, 8), 8, true) as Ints,
    times: readFixed(field(8, 8), 8, true) as Ints,
    xids: readFixed(field(16, 4), 4, false) as Ints,
  };
}

export function encodeBegins(begins: Begins, sink: StreamSink, plan: Plan): void {
  encodeInts(begins.lsns, sink, plan.child('lsn'));
  encodeInts(begins.times, sink, plan.child('time'));
  encodeInts(begins.xids, sink, plan.child('xid'));
}

/** @throws DroverError `block.corrupt` */
export function decodeBegins(source: StreamSource, count: number): Begins {
  return {
    lsns: decodeInts(source, count),
    times: decodeInts(source, count),
    xids: decodeInts(source, count),
  };
}

/** The fields of each begin record at its place; places are those of the op byte. */
export function writeBegins(begins: Begins, out: Buffer, places: Int32Array): void {
  const shifted = new Int32Array(places.length);
  const at = (offset: number): Int32Array => {
    for (let i = 0; i < places.length; i++) shifted[i] = (places[i] as number) + offset;
    return shifted;
  };
  const to = viewOf(out);
  writeFixed(begins.lsns, 8, to, at(1));
  writeFixed(begins.times, 8, to, at(9));
  writeFixed(begins.xids, 4, to, at(17));
}

/** Commit time of each row; null when some row has no transaction or the times are not near numbers. */
export function timesOf(begins: Begins, transactions: Int32Array): Float64Array | null {
  const { times } = begins;
  if (!(times instanceof Float64Array) || !isNear(times)) return null;
  const out = new Float64Array(transactions.length);
  for (let i = 0; i < out.length; i++) {
    const transaction = transactions[i] as number;
    if (transaction < 0) return null;
    out[i] = times[transaction] as number;
  }
  return out;
}
