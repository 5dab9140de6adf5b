/** Symbols come back in any order and mix; what follows the end is zeros. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteReader, ByteWriter } from '../bytes.ts';
import { RangeDecoder, RangeEncoder } from './range-coder.ts';
import { Table } from './table.ts';

const skewed = Table.of([100_000, 5, 0, 0, 3000, 1, 0]);
const single = Table.of([7]);

const step = fc.oneof(
  fc.record({ symbol: fc.nat(6) }),
  fc
    .integer({ min: 0, max: 53 })
    .chain((count) => fc.record({ count: fc.constant(count), value: fc.maxSafeNat() })),
);

describe('range coder', () => {
  it('gives back what was put', () => {
    const encoder = new RangeEncoder();
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        encoder.reset();
        const put = steps.map((one) =>
          'symbol' in one ? one : { ...one, value: one.value % 2 ** one.count },
        );
        for (const one of put) {
          if ('symbol' in one) skewed.put(encoder, one.symbol);
          else encoder.putBits(one.value, one.count);
        }
        const decoder = new RangeDecoder(Buffer.concat([Buffer.from([9]), encoder.finish()]), 1);
        for (const one of put) {
          if ('symbol' in one) expect(skewed.get(decoder)).toBe(one.symbol);
          else expect(decoder.bits(one.count)).toBe(one.value);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('carries run through any number of bytes', () => {
    for (const value of [0xffff, 0xfffe, 0, 1]) {
      const encoder = new RangeEncoder();
      for (let i = 0; i < 50; i++) encoder.putBits(value, 16);
      skewed.put(encoder, 6);
      const decoder = new RangeDecoder(Buffer.from(encoder.finish()), 0);
      for (let i = 0; i < 50; i++) expect(decoder.bits(16)).toBe(value);
      expect(skewed.get(decoder)).toBe(6);
    }
  });

  it('what is certain takes no bytes', () => {
    const encoder = new RangeEncoder();
    for (let i = 0; i < 1000; i++) single.put(encoder, 0);
    expect(encoder.finish().length).toBe(0);
    const certain = Table.of([1_000_000, 0]);
    encoder.reset();
    for (let i = 0; i < 1000; i++) certain.put(encoder, 0);
    expect(encoder.finish().length).toBeLessThan(3);
  });
});

describe('table', () => {
  it('survives being stored', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1000), { minLength: 1, maxLength: 300 }), (counts) => {
        const table = Table.of(counts);
        const out = new ByteWriter();
        table.write(out);
        const back = Table.read(new ByteReader(out.written));
        expect(counts.map((_, i) => back.frequency(i))).toEqual(counts.map((_, i) => table.frequency(i)));
        expect(counts.every((_, i) => table.frequency(i) > 0)).toBe(true);
      }),
    );
  });

  it('what does not add up is refused', () => {
    for (const bytes of [
      [0, 0, 0],
      [2, 0, 5, 0, 5, 0, 0],
      [1, 0, 3, 0, 0],
      [255, 255, 3, 0, 0],
    ]) {
      expect(() => Table.read(new ByteReader(Buffer.from(bytes)))).toThrow(/damaged/);
    }
  });
});
