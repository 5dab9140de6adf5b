/** Byte strings one after the other, their lengths as numbers; compressed by zstd with other text, or kept as they are when that gains nothing. */
import { corrupt } from '../../header.ts';
import type { ByteReader, ByteWriter } from '../bytes.ts';
import { decodeNear, encodeInts } from '../ints.ts';
import type { Plan } from '../plan.ts';
import { gather, type Slices, totalBytes, widthOf } from '../slices.ts';
import type { StreamSink, StreamSource } from '../streams.ts';

export function lengthsOf(values: Slices): Float64Array {
  const lengths = new Float64Array(values.count);
  for (let i = 0; i < values.count; i++) {
    lengths[i] = (values.ends[i] as number) - (values.starts[i] as number);
  }
  return lengths;
}

export function writePlain(values: Slices, sink: StreamSink, out: ByteWriter, plan: Plan): void {
  encodeInts(lengthsOf(values), sink, plan.child('lengths'));
  out.reserve(totalBytes(values));
  out.size = gather(values, out.bytes, out.size);
}

/** Views into the stream. @throws DroverError `block.corrupt` */
export function readPlain(source: StreamSource, from: ByteReader, count: number): Slices {
  const lengths = decodeNear(source, count);
  source.spend(count * 8);
  const starts = new Uint32Array(count);
  const ends = new Uint32Array(count);
  const first = from.at;
  let at = first;
  for (let i = 0; i < count; i++) {
    const length = lengths[i] as number;
    if (!(length >= 0)) throw corrupt('a value has a negative length');
    starts[i] = at;
    at += length;
    ends[i] = at;
  }
  from.take(at - first);
  return { bytes: from.bytes, starts, ends, count };
}

const WIDTH_MAX = 64;

/** Values of one width as byte planes: first bytes of all, second bytes of all, … */
export function writeTransposed(values: Slices, sink: StreamSink): boolean {
  const width = widthOf(values);
  if (width < 2 || width > WIDTH_MAX) return false;
  const { bytes, starts, count } = values;
  sink.numbers.u8(width);
  sink.planes.reserve(width * count);
  const out = sink.planes.bytes;
  let at = sink.planes.size;
  for (let plane = 0; plane < width; plane++) {
    for (let i = 0; i < count; i++) out[at++] = bytes[(starts[i] as number) + plane] as number;
  }
  sink.planes.size = at;
  return true;
}

/** @throws DroverError `block.corrupt` */
export function readTransposed(source: StreamSource, count: number): { bytes: Buffer; width: number } {
  const width = source.numbers.u8();
  if (width < 1 || width > WIDTH_MAX) throw corrupt('a column has an impossible width', { width });
  source.spend(width * count);
  let from = source.planes.take(width * count);
  const planes = source.planes.bytes;
  const bytes = Buffer.allocUnsafe(width * count);
  for (let plane = 0; plane < width; plane++) {
    for (let at = plane; at < bytes.length; at += width) bytes[at] = planes[from++] as number;
  }
  return { bytes, width };
}
