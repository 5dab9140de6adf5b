/** Whatever a writer made of whatever rows comes back byte for byte, under whatever plan; the same rows and plans give the same bytes. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeColumnar } from './decode.ts';
import { encodeUnguarded } from './encode.ts';
import { PlanCache } from './plan-cache.ts';
import { type BodyOptions, makeBody } from './test-bodies.ts';
import { TYPES } from './test-values.ts';

const ROWS = [0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 300];

const options: fc.Arbitrary<BodyOptions> = fc.record({
  seed: fc.nat(),
  rows: fc.constantFrom(...ROWS),
  tables: fc.integer({ min: 1, max: 3 }),
  columns: fc.integer({ min: 0, max: 9 }),
  plain: fc.boolean(),
});

function same(raw: Buffer, plans: PlanCache): Buffer {
  const stored = encodeUnguarded(raw, plans);
  expect(stored).not.toBeNull();
  expect(decodeColumnar(stored!, raw.length).equals(raw)).toBe(true);
  return stored!;
}

describe('bodies as columns', () => {
  it('come back', () => {
    fc.assert(
      fc.property(options, (o) => {
        same(makeBody(o), new PlanCache());
      }),
      { numRuns: 150 },
    );
  });

  it('come back under plans made for other data of the same tables, and are the same for the same history', () => {
    fc.assert(
      fc.property(options, fc.nat(), fc.nat(), (o, seedB, seedC) => {
        const histories = [new PlanCache(), new PlanCache()].map((plans) =>
          [o.seed, seedB, seedC].map((seed) =>
            same(makeBody({ ...o, seed, schemaSeed: o.seed }), plans).toString('hex'),
          ),
        );
        expect(histories[0]).toEqual(histories[1]);
      }),
      { numRuns: 60 },
    );
  });

  it.each(TYPES.map((type) => [type.name, type] as const))(
    'come back with columns of %s in every manner',
    (_, type) => {
      const plans = new PlanCache();
      for (let seed = 0; seed < 12; seed++) {
        const body = { seed, rows: 70, tables: 1, columns: 4, types: [type], schemaSeed: 1 };
        same(makeBody(body), plans);
        same(makeBody({ ...body, plain: true }), plans);
      }
    },
  );

  it.each([1023, 1024, 1025, 4100])('come back with %i rows', (rows) => {
    const plans = new PlanCache();
    for (let seed = 0; seed < 3; seed++) {
      same(makeBody({ seed, rows, tables: 1, columns: 6, schemaSeed: seed, plain: seed === 1 }), plans);
      same(makeBody({ seed: seed + 50, rows, tables: 2, columns: 5, schemaSeed: seed }), plans);
    }
  });

  it('come back with 1,600 columns, with none, and without rows', () => {
    same(makeBody({ seed: 1, rows: 20, tables: 1, columns: 1600 }), new PlanCache());
    same(makeBody({ seed: 2, rows: 20, tables: 2, columns: 0 }), new PlanCache());
    same(makeBody({ seed: 3, rows: 0, tables: 1, columns: 3 }), new PlanCache());
  });
});
