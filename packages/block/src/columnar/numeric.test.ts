/** Numerics come back byte for byte, whatever their scale; forms no server sends as well. */
import { describe, expect, it } from 'vitest';
import { decodeNumeric, encodeNumeric } from './numeric.ts';
import { Plan } from './plan.ts';
import { newSink, sinkSize } from './streams.ts';
import { NUMERIC_EDGES, numeric, numerics } from './test-numbers.ts';
import { COUNTS, roundTrip, seeded, slicesOf, slicesToHex } from './testing.ts';

function same(values: readonly Buffer[], plan: Plan): boolean {
  const slices = slicesOf(values);
  let taken = false;
  const back = roundTrip(
    (sink) => {
      taken = encodeNumeric(slices, sink, plan);
    },
    (source) => (taken ? decodeNumeric(source, values.length) : null),
  );
  if (back !== null) expect(slicesToHex(back)).toEqual(slicesToHex(slices));
  return taken;
}

const few = (count: number): Buffer[] =>
  Array.from({ length: count }, (_, i) => numeric([i + 1, 2500], 0, 0, 2));

describe('numerics', () => {
  it('come back: every edge, beside ordinary ones, first and last', () => {
    const plan = new Plan();
    for (const edge of NUMERIC_EDGES) {
      expect(same([edge, ...few(30), edge], plan)).toBe(true);
      expect(same([edge, edge, ...few(9)], new Plan())).toBe(true);
      same([edge], plan);
    }
    same(NUMERIC_EDGES, plan);
  });

  it('come back in any number and every manner under the same plan', () => {
    const plan = new Plan();
    for (const count of COUNTS.filter((n) => n > 0 && n < 2000)) {
      for (const manner of numerics()) {
        const draw = manner(seeded(count));
        same(
          Array.from({ length: count }, (_, i) => draw(i)),
          plan,
        );
      }
    }
  });

  it('of every whole part and every number of decimals come back', () => {
    for (let weight = 0; weight < 4; weight++) {
      for (let decimals = 0; decimals < 4; decimals++) {
        const digits = Array.from({ length: weight + 1 + decimals }, (_, i) => (i * 37 + 1) % 10_000);
        for (let scale = Math.max(0, 4 * decimals - 3); scale <= 12; scale++) {
          const values = [numeric(digits, weight, 0, scale), numeric(digits, weight, 0x4000, scale)];
          same([...values, ...values], new Plan());
        }
      }
    }
  });

  it('keep their display scale: 100, 100.0 and 100.00 are different', () => {
    const values = Array.from({ length: 30 }, (_, i) => numeric([100], 0, 0, i % 3));
    expect(same(values, new Plan())).toBe(true);
  });

  it('that are mostly exceptions are declined', () => {
    expect(same([numeric([], 0, 0xc000, 0), numeric([], 0, 0xd000, 32), ...few(1)], new Plan())).toBe(false);
  });

  it('of money take a fraction of their bytes', () => {
    const draw = numerics()[0]!(seeded(4));
    const values = Array.from({ length: 1000 }, (_, i) => draw(i));
    const sink = newSink();
    expect(encodeNumeric(slicesOf(values), sink, new Plan())).toBe(true);
    expect(sinkSize(sink) * 4).toBeLessThan(Buffer.concat(values).length);
  });
});
