/** Codecs of text and documents that are tried beside the built-in ones. Ids are part of the format: numbers are never reused. */
import { assert } from '@drover/core';
import type { Plan } from './plan.ts';
import type { Slices } from './slices.ts';
import type { StreamSink, StreamSource } from './streams.ts';

export interface StringCodec {
  /** 16 to 255; smaller ones are built in. */
  readonly id: number;
  readonly name: string;
  /** False: it does not apply to these values; what it has written until then is taken back by the caller. */
  encode(values: Slices, sink: StreamSink, plan: Plan): boolean;
  /** @throws DroverError `block.corrupt` */
  decode(source: StreamSource, count: number): Slices;
}

const REGISTERED_MIN = 16;

/** Tried for every column of text, in this order. */
export const stringCodecs: StringCodec[] = [];
/** Tried only for columns of type json and jsonb. */
export const documentCodecs: StringCodec[] = [];

export function registerCodec(list: StringCodec[], codec: StringCodec): void {
  assert(codec.id >= REGISTERED_MIN && codec.id < 256, 'a codec id is out of range', { id: codec.id });
  const taken = [...stringCodecs, ...documentCodecs].some((c) => c.id === codec.id);
  assert(!taken, 'a codec id is taken', { id: codec.id });
  list.push(codec);
}
