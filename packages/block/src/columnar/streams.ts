/**
 * Where codecs put their output: four streams by kind, each of which becomes one frame of its own, because what is alike compresses best
 * together. Codecs append in a fixed order and read back in the same.
 */
import { corrupt } from '../header.ts';
import { type ByteReader, ByteWriter } from './bytes.ts';
import { zstdBytes } from './frames.ts';

/** numbers: varints, packed bits, small integers. planes: bytes of equal rank of wide values. text: strings. random: stored as it is. */
export interface StreamSink {
  readonly numbers: ByteWriter;
  readonly planes: ByteWriter;
  readonly text: ByteWriter;
  readonly random: ByteWriter;
}

export interface StreamSource {
  readonly numbers: ByteReader;
  readonly planes: ByteReader;
  readonly text: ByteReader;
  readonly random: ByteReader;
  /** Counts decoded bytes against the cap of the block. @throws DroverError `block.corrupt` before they are allocated */
  spend(bytes: number): void;
}

export function newSink(): StreamSink {
  return {
    numbers: new ByteWriter(),
    planes: new ByteWriter(),
    text: new ByteWriter(),
    random: new ByteWriter(),
  };
}

/** Bytes in all four. */
export function sinkSize(sink: StreamSink): number {
  return sink.numbers.size + sink.planes.size + sink.text.size + sink.random.size;
}

export interface Mark {
  readonly numbers: number;
  readonly planes: number;
  readonly text: number;
  readonly random: number;
}

export function markOf(sink: StreamSink): Mark {
  return {
    numbers: sink.numbers.size,
    planes: sink.planes.size,
    text: sink.text.size,
    random: sink.random.size,
  };
}

/** Takes back all that was appended since the mark. */
export function rewind(sink: StreamSink, mark: Mark): void {
  sink.numbers.size = mark.numbers;
  sink.planes.size = mark.planes;
  sink.text.size = mark.text;
  sink.random.size = mark.random;
}

/** Bytes of what was appended since the mark, as it would be stored. */
export function weigh(sink: StreamSink, mark: Mark): number {
  return (
    zstdBytes(sink.numbers.written.subarray(mark.numbers)) +
    zstdBytes(sink.planes.written.subarray(mark.planes)) +
    zstdBytes(sink.text.written.subarray(mark.text)) +
    sink.random.size -
    mark.random
  );
}

let trials: StreamSink | null = null;

/** A sink for trying what something would take; its content is lost with the next call. */
export function trialSink(): StreamSink {
  trials ??= newSink();
  return trials;
}

/** A bound on what decoding allocates. */
export class Budget {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** @throws DroverError `block.corrupt` */
  spend(bytes: number): void {
    if (!(bytes <= this.#left))
      throw corrupt('it would decode to more than it declares', { bytes, left: this.#left });
    this.#left -= bytes;
  }
}
