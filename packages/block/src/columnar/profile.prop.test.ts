/** Whatever the bytes, of a message or of a profile, they are decoded or refused. */
import { DroverError } from '@drover/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeWithProfile, encodeWithProfile, learn, Profile } from './profile.ts';
import { makeBody } from './test-bodies.ts';

const SCHEMA = 11;
const options = { tenant: 'acme', tables: 'app/1' };
const bodies = Array.from({ length: 80 }, (_, seed) =>
  makeBody({ seed, rows: 4, tables: 2, columns: 10, schemaSeed: SCHEMA }),
);
const profile = learn(bodies, options)!;
const raw = makeBody({ seed: 999, rows: 5, tables: 2, columns: 10, schemaSeed: SCHEMA });
const stored = Buffer.from(encodeWithProfile(raw, profile)!);

function decodeHostile(bytes: Buffer, by: Profile, length: number): void {
  try {
    expect(decodeWithProfile(bytes, by, length).length).toBe(length);
  } catch (error) {
    if (!(error instanceof DroverError)) throw error;
    expect(error.code).toBe('block.corrupt');
  }
}

describe('profile, any rows', () => {
  it('come back', () => {
    fc.assert(
      fc.property(
        fc.nat(100_000),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 0, max: 14 }),
        fc.boolean(),
        (seed, rows, tables, columns, same) => {
          const schema = same ? { schemaSeed: SCHEMA, tables: 2, columns: 10 } : { tables, columns };
          const body = makeBody({ seed, rows, ...schema });
          const packed = encodeWithProfile(body, profile);
          if (packed !== null)
            expect(decodeWithProfile(packed, profile, body.length).equals(body)).toBe(true);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('come back by a profile of few of their kind', () => {
    fc.assert(
      fc.property(fc.nat(100_000), fc.integer({ min: 1, max: 6 }), (seed, count) => {
        const make = (i: number) =>
          makeBody({ seed: seed + i, rows: 3, tables: 1, columns: 6, schemaSeed: seed });
        const own = learn(
          Array.from({ length: count }, (_, i) => make(i)),
          options,
        );
        if (own === null) return;
        for (let i = 0; i < 4; i++) {
          const packed = encodeWithProfile(make(100 + i), own);
          if (packed !== null)
            expect(decodeWithProfile(packed, own, make(100 + i).length).equals(make(100 + i))).toBe(true);
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe('damage', () => {
  it('messages cut at every byte, every byte changed', () => {
    for (let at = 0; at < stored.length; at++) {
      decodeHostile(stored.subarray(0, at), profile, raw.length);
      for (const flip of [1, 0x80, 0xff]) {
        const changed = Buffer.from(stored);
        changed[at]! ^= flip;
        decodeHostile(changed, profile, raw.length);
      }
    }
  });

  it('bytes from nowhere', () => {
    const head = stored.subarray(0, 5);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(3), fc.nat(5000), (bytes, flags, length) => {
        const message = Buffer.concat([head, bytes]);
        message[0] = 0x10 | flags;
        decodeHostile(message, profile, length);
      }),
      { numRuns: 2000 },
    );
  });

  it('profiles with bytes changed are refused, or decode to something', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }), (changes) => {
        const bytes = Buffer.from(profile.bytes);
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        let changed: Profile;
        try {
          changed = new Profile(bytes);
        } catch (error) {
          if (!(error instanceof DroverError)) throw error;
          return;
        }
        decodeHostile(Buffer.from(stored), changed, raw.length);
      }),
      { numRuns: 600 },
    );
  });
});
