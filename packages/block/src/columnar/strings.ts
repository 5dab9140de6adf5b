/** Columns of bytes: text, names, labels, UUIDs, and every type that is not known better. Its codecs are built in or registered. */
import type { Plan } from './plan.ts';
import { type StringCodec, stringCodecs } from './registry.ts';
import type { Slices } from './slices.ts';
import type { StreamSink, StreamSource } from './streams.ts';
import { readStrings } from './strings/read.ts';
import { writeStrings } from './strings/write.ts';

export { TextCode } from './strings/codes.ts';

export function encodeStrings(values: Slices, sink: StreamSink, plan: Plan): void {
  writeStrings(stringCodecs, values, sink, plan, 0);
}

/** @throws DroverError `block.corrupt` */
export function decodeStrings(source: StreamSource, count: number): Slices {
  return readStrings(stringCodecs, source, count, 0);
}

/** With these codecs tried beside the built-in ones; `depth` is how often such columns are nested already. */
export function encodeAmong(
  codecs: readonly StringCodec[],
  values: Slices,
  sink: StreamSink,
  plan: Plan,
  depth: number,
): void {
  writeStrings(codecs, values, sink, plan, depth);
}

/** @throws DroverError `block.corrupt` */
export function decodeAmong(
  codecs: readonly StringCodec[],
  source: StreamSource,
  count: number,
  depth: number,
): Slices {
  return readStrings(codecs, source, count, depth);
}
