/** Weighing what a codec of whole documents made against the text they were, both as they will be sent. */
import { constants, zstdCompressSync } from 'node:zlib';
import { ByteWriter } from '../bytes.ts';
import type { Slices } from '../slices.ts';
import type { Mark, StreamSink } from '../streams.ts';

/** A better level helps plain text more than columns: a weighing at a lower one would flatter them. */
const LEVEL = { params: { [constants.ZSTD_c_compressionLevel]: 3 } };
/** A frame's header, which a column does not pay: its bytes share a frame with others'. */
const FRAME_BYTES = 9;

/** Compressed bytes of what was appended since the mark. */
export function weighSent(sink: StreamSink, mark: Mark): number {
  return (
    packed(sink.numbers, mark.numbers) +
    packed(sink.planes, mark.planes) +
    packed(sink.text, mark.text) +
    (sink.random.size - mark.random)
  );
}

function packed(writer: ByteWriter, from: number): number {
  return packedBytes(writer.bytes.subarray(from, writer.size));
}

/** Compressed bytes of the values one behind the other. Their lengths are not counted: they are next to nothing. */
export function weighPlain(values: Slices): number {
  const text = new ByteWriter();
  for (let i = 0; i < values.count; i++) {
    text.copy(values.bytes, values.starts[i] as number, values.ends[i] as number);
  }
  return packedBytes(text.written);
}

function packedBytes(bytes: Buffer): number {
  if (bytes.length === 0) return 0;
  return Math.min(bytes.length, zstdCompressSync(bytes, LEVEL).length - FRAME_BYTES);
}
