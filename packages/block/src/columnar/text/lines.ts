/**
 * Free text (names, addresses, sentences) with a byte behind each value that is in none of them. Lengths as numbers would cost two or three bits
 * each; a repeated ending followed by the same byte costs next to nothing.
 *
 * The byte, then the values, all in stream `text`.
 */
import { corrupt } from '../../header.ts';
import type { Plan } from '../plan.ts';
import type { StringCodec } from '../registry.ts';
import { gather, type Slices, totalBytes } from '../slices.ts';
import type { StreamSink, StreamSource } from '../streams.ts';

/** Looked for in this order: what text rarely holds, line feed first because it needs no escape where documents are looked at. */
const TERMINATORS = [0x0a, 0x00, 0x09, 0x1f];
const VALUES_MIN = 8;

export function linesCodec(id: number): StringCodec {
  return { id, name: 'lines', encode, decode };
}

function encode(values: Slices, sink: StreamSink, _plan: Plan): boolean {
  const { bytes, starts, ends, count } = values;
  if (count < VALUES_MIN) return false;
  const { text } = sink;
  const first = text.size;
  text.reserve(totalBytes(values) + count + 1);
  // The values one behind the other tell at once which bytes are in none of them.
  const end = gather(values, text.bytes, first);
  const terminator = TERMINATORS.find((byte) => absent(text.bytes, byte, first, end));
  if (terminator === undefined) return false;
  const out = text.bytes;
  let at = first;
  out[at++] = terminator;
  for (let i = 0; i < count; i++) {
    const stop = ends[i] as number;
    for (let from = starts[i] as number; from < stop; ) out[at++] = bytes[from++] as number;
    out[at++] = terminator;
  }
  text.size = at;
  return true;
}

function absent(bytes: Buffer, byte: number, start: number, end: number): boolean {
  const at = bytes.subarray(start, end).indexOf(byte);
  return at < 0;
}

/** Views into the stream. @throws DroverError `block.corrupt` */
function decode(source: StreamSource, count: number): Slices {
  const { text } = source;
  const terminator = text.u8();
  source.spend(count * 8);
  if (count > text.left) throw corrupt('there are more values than bytes', { count });
  const starts = new Uint32Array(count);
  const ends = new Uint32Array(count);
  const { bytes, end } = text;
  let at = text.at;
  for (let i = 0; i < count; i++) {
    starts[i] = at;
    while (at < end && bytes[at] !== terminator) at++;
    if (at === end) throw corrupt('a value has no end', { at });
    ends[i] = at++;
  }
  source.spend(at - text.at);
  text.take(at - text.at);
  return { bytes, starts, ends, count };
}
