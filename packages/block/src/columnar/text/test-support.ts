/** For tests of codecs: values as slices with other bytes around them, streams, and a source that counts what is allocated. */
import { DroverError } from '@drover/core';
import { corrupt } from '../../header.ts';
import { ByteReader, ByteWriter } from '../bytes.ts';
import { Plan } from '../plan.ts';
import type { StringCodec } from '../registry.ts';
import type { Slices } from '../slices.ts';
import type { StreamSink, StreamSource } from '../streams.ts';
import type { Columns } from './codec.ts';
import { naturals } from './whole.ts';

/** The least encoding of columns: differences as varints, text behind its lengths. */
export const columns: Columns = {
  encodeInts(values, sink) {
    let last = 0;
    for (const value of values as Float64Array) {
      const step = value - last;
      sink.numbers.varint(step < 0 ? -2 * step - 1 : 2 * step);
      last = value;
    }
  },
  decodeInts(source, count) {
    source.spend(8 * count);
    const values = new Float64Array(count);
    let last = 0;
    for (let i = 0; i < count; i++) {
      const step = source.numbers.varint();
      last += step % 2 === 0 ? step / 2 : -(step + 1) / 2;
      values[i] = last;
    }
    return values;
  },
  encodeStrings(values, sink, plan) {
    const lengths = Float64Array.from(values.starts, (start, i) => (values.ends[i] as number) - start);
    columns.encodeInts(lengths, sink, plan);
    for (let i = 0; i < values.count; i++) {
      sink.text.copy(values.bytes, values.starts[i] as number, values.ends[i] as number);
    }
  },
  decodeStrings(source, count) {
    const lengths = naturals(columns, source, count, source.text.left);
    const starts = Uint32Array.from(lengths, (length) => source.text.take(length));
    return {
      bytes: source.text.bytes,
      starts,
      ends: starts.map((start, i) => start + (lengths[i] as number)),
      count,
    };
  },
};

const STREAMS = ['numbers', 'planes', 'text', 'random'] as const;

/** Digits, quotes and braces stand around each value: a codec that reads beyond one's end notices. */
export function slicesOf(values: readonly (string | Buffer)[]): Slices {
  const parts: Buffer[] = [];
  const starts: number[] = [];
  const ends: number[] = [];
  let at = 0;
  for (const value of values) {
    const bytes = Buffer.from(value as string);
    parts.push(AROUND, bytes);
    starts.push(at + AROUND.length);
    at += AROUND.length + bytes.length;
    ends.push(at);
  }
  return {
    bytes: Buffer.concat([...parts, AROUND]),
    starts: Uint32Array.from(starts),
    ends: Uint32Array.from(ends),
    count: values.length,
  };
}
const AROUND = Buffer.from('7"}');

export function textsOf(values: Slices): string[] {
  return Array.from({ length: values.count }, (_, i) =>
    values.bytes.toString('latin1', values.starts[i], values.ends[i]),
  );
}

export function newSink(): StreamSink {
  return {
    numbers: new ByteWriter(8),
    planes: new ByteWriter(8),
    text: new ByteWriter(8),
    random: new ByteWriter(8),
  };
}

/** Copies: the streams of one encoding. */
export type Streams = Record<(typeof STREAMS)[number], Buffer>;

export function streamsOf(sink: StreamSink): Streams {
  const copy = (name: keyof Streams) => Buffer.from(sink[name].written);
  return { numbers: copy('numbers'), planes: copy('planes'), text: copy('text'), random: copy('random') };
}

export interface CountingSource extends StreamSource {
  spent: number;
  /** Bytes nobody read. */
  readonly left: number;
}

export function sourceOf(streams: Streams, cap = 1 << 24): CountingSource {
  const source = {
    numbers: new ByteReader(streams.numbers),
    planes: new ByteReader(streams.planes),
    text: new ByteReader(streams.text),
    random: new ByteReader(streams.random),
    spent: 0,
    spend(bytes: number) {
      source.spent += bytes;
      if (!(source.spent <= cap)) throw corrupt('more bytes than allowed', { bytes });
    },
    get left() {
      return STREAMS.reduce((sum, name) => sum + source[name].left, 0);
    },
  };
  return source;
}

/** What comes back; null when the codec declines. All streams must have been read to their end. */
export function roundTrip(codec: StringCodec, values: Slices, plan: Plan): string[] | null {
  const sink = newSink();
  if (!codec.encode(values, sink, plan)) return null;
  const source = sourceOf(streamsOf(sink));
  const decoded = codec.decode(source, values.count);
  if (source.left > 0) throw new Error(`${source.left} bytes were not read`);
  return textsOf(decoded);
}

const CAP = 1 << 20;

/** Decodes, or refuses as damaged, within a cap; any other outcome is thrown. */
export function decodeHostile(codec: StringCodec, streams: Streams, count: number): 'decoded' | 'refused' {
  try {
    const source = sourceOf(streams, CAP);
    const values = codec.decode(source, count);
    let bytes = 0;
    for (let i = 0; i < count; i++) {
      const [start, end] = [values.starts[i] as number, values.ends[i] as number];
      if (!(start <= end && end <= values.bytes.length))
        throw new Error(`value ${i} lies outside its buffer`);
      bytes += end - start;
    }
    if (values.count !== count || bytes > source.spent) throw new Error('more was decoded than was counted');
    return 'decoded';
  } catch (error) {
    if (error instanceof DroverError && error.code === 'block.corrupt') return 'refused';
    throw error;
  }
}

/** Decodes the values' streams cut at every byte, with every byte changed, and with other counts. @returns how many were refused */
export function damage(codec: StringCodec, values: readonly (string | Buffer)[]): number {
  const sink = newSink();
  if (!codec.encode(slicesOf(values), sink, new Plan())) throw new Error('the codec declines');
  const streams = streamsOf(sink);
  let refused = 0;
  const check = (changed: Partial<Streams>, count = values.length) => {
    if (decodeHostile(codec, { ...streams, ...changed }, count) === 'refused') refused++;
  };
  for (const name of STREAMS) {
    const whole = streams[name];
    const step = Math.max(1, Math.floor(whole.length / 1000));
    for (let at = 0; at < whole.length; at += step) {
      check({ [name]: whole.subarray(0, at) });
      for (const value of [0, 1, 0x7f, 0x80, 0xff, (whole[at] as number) ^ 1]) {
        const bytes = Buffer.from(whole);
        bytes[at] = value;
        check({ [name]: bytes });
      }
    }
  }
  for (const count of [0, 1, values.length - 1, values.length + 1, 10_000, 1_000_000]) check({}, count);
  return refused;
}
