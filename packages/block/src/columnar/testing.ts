/** What the tests of the columnar encoding share. */
import { crc32 } from 'node:zlib';
import { ByteReader } from './bytes.ts';
import type { Slices } from './slices.ts';
import { Budget, newSink, type StreamSink, type StreamSource } from './streams.ts';

export const COUNTS = [0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 1023, 1024, 1025, 10_000];

export function sourceOf(sink: StreamSink, budgetBytes = 1 << 28): StreamSource {
  const budget = new Budget(budgetBytes);
  return {
    numbers: new ByteReader(Buffer.from(sink.numbers.written)),
    planes: new ByteReader(Buffer.from(sink.planes.written)),
    text: new ByteReader(Buffer.from(sink.text.written)),
    random: new ByteReader(Buffer.from(sink.random.written)),
    spend: (bytes) => budget.spend(bytes),
  };
}

/** What `write` put into a fresh sink, read back by `read`, which must consume it all. */
export function roundTrip<T>(write: (sink: StreamSink) => void, read: (source: StreamSource) => T): T {
  const sink = newSink();
  write(sink);
  const source = sourceOf(sink);
  const out = read(source);
  for (const stream of [source.numbers, source.planes, source.text, source.random]) {
    if (stream.left !== 0) throw new Error(`${stream.left} bytes left over`);
  }
  return out;
}

export function slicesOf(values: readonly (Buffer | string)[]): Slices {
  const buffers = values.map((value) => (typeof value === 'string' ? Buffer.from(value) : value));
  const starts = new Uint32Array(buffers.length);
  const ends = new Uint32Array(buffers.length);
  let at = 1;
  for (let i = 0; i < buffers.length; i++) {
    starts[i] = at;
    at += buffers[i]?.length ?? 0;
    ends[i] = at;
  }
  return { bytes: Buffer.concat([Buffer.from([7]), ...buffers]), starts, ends, count: buffers.length };
}

export function slicesToHex(values: Slices): string[] {
  return Array.from({ length: values.count }, (_, i) =>
    values.bytes.toString('hex', values.starts[i] as number, values.ends[i] as number),
  );
}

/** Uniform in [0, 1), the same sequence for the same seed. */
export function seeded(seed: number): () => number {
  let state = crc32(String(seed)) | 1;
  return () => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d);
    state = (state + 0x6d2b79f5) | 0;
    const mixed = Math.imul(state ^ (state >>> 13), 0x297a2d39);
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 4294967296;
  };
}
