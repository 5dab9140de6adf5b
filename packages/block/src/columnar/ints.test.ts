/** Whole numbers come back exactly, in every codec and with a plan made for other data. */
import { describe, expect, it } from 'vitest';
import { Code, header } from './ints/codes.ts';
import { LAYOUTS, type Layout } from './ints/naturals.ts';
import { decodeInts, encodeInts, type Ints } from './ints.ts';
import { Plan } from './plan.ts';
import { newSink, sinkSize } from './streams.ts';
import { COUNTS, roundTrip, seeded } from './testing.ts';

const random = seeded(7);
const whole = (limit: number) => Math.floor(random() * limit);
type Make = (count: number) => Ints;
const floats =
  (at: (i: number) => number): Make =>
  (count) =>
    Float64Array.from({ length: count }, (_, i) => at(i));
const bigs =
  (at: (i: number) => bigint): Make =>
  (count) =>
    BigInt64Array.from({ length: count }, (_, i) => at(i));
const MIN = -(2n ** 63n);
const MAX = 2n ** 63n - 1n;

function identity(): Make {
  let id = 0;
  return floats(() => (id += random() < 0.03 ? 3 : 1));
}

function sessions(): Make {
  const next = Array.from({ length: 8 }, () => 0);
  let top = 0;
  return floats(() => {
    const session = whole(8);
    if ((next[session] as number) % 32 === 0) next[session] = top += 32;
    return (next[session] as number)++;
  });
}

const KINDS: Record<string, Make> = {
  'all equal': floats(() => -5),
  zeros: floats(() => 0),
  'identity with gaps': identity(),
  'falling by three': floats((i) => 1e6 - 3 * i),
  'cached sequence of eight sessions': sessions(),
  'small and skewed': floats(() => Math.floor(random() ** 4 * 7)),
  'alternating two': floats((i) => (i % 2) * 1e9),
  'runs of twenty': floats((i) => Math.floor(i / 20) % 5),
  'one outlier at the end': (count) =>
    Float64Array.from({ length: count }, (_, i) => (i === count - 1 ? 2 ** 40 : 4)),
  'one outlier at the start': floats((i) => (i === 0 ? -(2 ** 49) : 4)),
  'all distinct': floats(() => whole(2 ** 31)),
  'multiples of a thousand': floats(() => whole(500) * 1000 - 7),
  'a line with jitter': floats((i) => i * 1_000_000 + (random() < 0.3 ? whole(20) * 1000 : 0)),
  'second differences': floats((i) => i * i),
  'near limits': floats((i) => [2 ** 50, -(2 ** 50), 0, 2 ** 50 - 1][i % 4] as number),
  'safe limits': floats((i) => [2 ** 53 - 1, -(2 ** 53 - 1), 2 ** 53 - 2, 1][i % 4] as number),
  'crossing 2^31, 2^32 and 2^53': bigs(
    (i) => [31n, 32n, 53n].map((p) => 2n ** p)[i % 3]! + BigInt(i % 5) - 2n,
  ),
  'int8 extremes side by side': bigs((i) => (i % 2 === 0 ? MIN : MAX)),
  'a few infinite': bigs((i) => (i % 50 === 3 ? (i % 100 === 3 ? MIN : MAX) : BigInt(i) * 1000n)),
  'all infinite but one': bigs((i) => (i === 2 ? 5n : MAX)),
  'ids made of a time': bigs(
    (i) => 1_800_000_000_000_000_000n + BigInt(i) * 4_194_304n + BigInt(whole(4000)),
  ),
  'random 64 bits': bigs(() => (BigInt(whole(2 ** 32)) << 32n) - 2n ** 63n + BigInt(whole(2 ** 32))),
};

function same(values: Ints, plan: Plan): void {
  const back = roundTrip(
    (sink) => encodeInts(values, sink, plan),
    (source) => decodeInts(source, values.length),
  );
  expect(Array.from(back, BigInt)).toEqual(Array.from(values, BigInt));
}

describe('whole numbers', () => {
  it.each(Object.entries(KINDS))('come back: %s', (_, make) => {
    for (const count of COUNTS) same(make(count), new Plan());
  });

  it('come back under a plan made for any other kind', () => {
    for (const a of Object.values(KINDS)) {
      for (const b of Object.values(KINDS)) {
        const plan = new Plan();
        same(a(200), plan);
        same(b(130), plan);
      }
    }
  });

  it('come back whatever codec and layout a plan wants', () => {
    for (const make of Object.values(KINDS)) {
      for (let code = 0; code < 16; code++) {
        for (let layout = 0; layout < LAYOUTS; layout++) {
          const plan = new Plan();
          plan.settle(header(code, layout as Layout), 0, 1);
          for (const child of ['values', 'lengths', 'misses']) {
            plan.child(child).settle(header(code, layout as Layout), 0, 1);
          }
          same(make(70), plan);
        }
      }
    }
  });

  it.each([
    ['identity with gaps', 8, 120],
    ['cached sequence of eight sessions', 8, 14],
    ['runs of twenty', 8, 120],
    ['falling by three', 8, 400],
  ])('take little room: %s', (kind, width, factor) => {
    const sink = newSink();
    encodeInts(KINDS[kind]!(1000), sink, new Plan());
    expect((1000 * width) / sinkSize(sink)).toBeGreaterThan(factor);
  });

  it('choose alike for alike data', () => {
    const values = sessions()(1000);
    const sizes = [newSink(), newSink()].map((sink) => {
      encodeInts(values, sink, new Plan());
      return Buffer.concat([sink.numbers.written, sink.random.written, sink.planes.written]).toString('hex');
    });
    expect(sizes[0]).toBe(sizes[1]);
  });

  it('use the cursor where sequences interleave', () => {
    const plan = new Plan();
    encodeInts(sessions()(1000), newSink(), plan);
    expect(plan.choice & 15).toBe(Code.cursor);
  });
});
