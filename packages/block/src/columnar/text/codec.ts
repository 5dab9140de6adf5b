/**
 * How the codecs of text see the rest of the columnar encoding. They split values into columns and hand those back to the encoding they are
 * part of; getting it as an argument keeps the imports free of a ring.
 */
import type { Ints } from '../ints.ts';
import type { Plan } from '../plan.ts';
import type { Slices } from '../slices.ts';
import type { StreamSink, StreamSource } from '../streams.ts';

/** The encoding of whole columns, which finds the best codec for each. */
export interface Columns {
  encodeInts(values: Ints, sink: StreamSink, plan: Plan): void;
  /** @throws DroverError `block.corrupt` */
  decodeInts(source: StreamSource, count: number): Ints;
  encodeStrings(values: Slices, sink: StreamSink, plan: Plan): void;
  /** @throws DroverError `block.corrupt` */
  decodeStrings(source: StreamSource, count: number): Slices;
}
