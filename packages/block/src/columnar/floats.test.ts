/** Floats come back bit for bit: every NaN, both zeros, the smallest and the largest, in every codec. */
import { describe, expect, it } from 'vitest';
import { decodeFloats, encodeFloats, FloatCode } from './floats.ts';
import { Plan } from './plan.ts';
import { newSink, sinkSize } from './streams.ts';
import { FLOAT4_EDGES, FLOAT4S, FLOAT8_EDGES, FLOAT8S, float8 } from './test-numbers.ts';
import { COUNTS, roundTrip, seeded, slicesOf, slicesToHex } from './testing.ts';

function same(values: readonly Buffer[], width: 4 | 8, plan: Plan): void {
  const slices = slicesOf(values);
  const back = roundTrip(
    (sink) => expect(encodeFloats(slices, width, sink, plan)).toBe(true),
    (source) => decodeFloats(source, values.length, width),
  );
  expect(slicesToHex(back)).toEqual(slicesToHex(slices));
}

const CASES = [
  [8, FLOAT8_EDGES, FLOAT8S],
  [4, FLOAT4_EDGES, FLOAT4S],
] as const;

describe.each(CASES)('floats of %i bytes', (width, edges, manners) => {
  it('come back: every edge alone, beside decimals, and all together', () => {
    for (const code of Object.values(FloatCode)) {
      const plan = new Plan();
      plan.settle(code, 0, 0);
      same(edges, width, plan);
      for (const edge of edges) {
        same([edge], width, plan);
        const draw = manners[0]!(seeded(1));
        const rows = Array.from({ length: 40 }, (_, i) => (i % 13 === 0 ? edge : draw(i)));
        same(rows, width, plan);
        same([...rows, edge, edge], width, new Plan());
      }
    }
  });

  it('come back in any number, in every manner, under the plan of every other', () => {
    const plans = manners.map(() => new Plan());
    for (const count of COUNTS.filter((n) => n > 0 && n < 2000)) {
      manners.forEach((manner, m) => {
        const draw = manner(seeded(count));
        const values = Array.from({ length: count }, (_, i) => draw(i));
        same(values, width, plans[m]!);
        same(values, width, plans[(m + 1) % plans.length]!);
      });
    }
  });

  it('of another width are declined', () => {
    const sink = newSink();
    expect(encodeFloats(slicesOf([Buffer.alloc(3)]), width, sink, new Plan())).toBe(false);
    expect(
      encodeFloats(slicesOf([Buffer.alloc(width), Buffer.alloc(width - 1)]), width, sink, new Plan()),
    ).toBe(false);
    expect(sinkSize(sink)).toBe(0);
  });
});

describe('decimals', () => {
  it('of two digits take less than a byte and a half while they walk slowly', () => {
    const draw = FLOAT8S[0]!(seeded(5));
    const sink = newSink();
    encodeFloats(slicesOf(Array.from({ length: 1000 }, (_, i) => draw(i))), 8, sink, new Plan());
    expect(sinkSize(sink)).toBeLessThan(700);
  });

  it('that no power of ten gives back exactly stay as they are', () => {
    const trapped = [0.1 + 0.2, 1e22, 1e23, 123456789012345.67, 5e-324, 1.7976931348623157e308];
    same(
      Array.from({ length: 60 }, (_, i) => float8(trapped[i % trapped.length]!)),
      8,
      new Plan(),
    );
  });
});
