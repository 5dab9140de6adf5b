/** What snappy has stored comes back; any bytes are decoded or refused, and never more is allocated than was declared. */
import { DroverError } from '@drover/core';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { compressSnappy, decompressSnappy } from './snappy.ts';

/** A literal of fewer than 61 bytes: its tag, then itself. */
const literal = (text: string): number[] => [(text.length - 1) << 2, ...Buffer.from(text)];
/** `length` (1 to 64) bytes from `offset` back: an element of three bytes. */
const copy = (length: number, offset: number): number[] => [
  ((length - 1) << 2) | 2,
  offset & 0xff,
  offset >> 8,
];

const refused = expect.objectContaining({ code: 'block.corrupt' });

function outcome(stored: Buffer, bytes: number): 'decoded' | 'refused' {
  try {
    if (decompressSnappy(stored, bytes).length !== bytes) throw new Error('another length than declared');
    return 'decoded';
  } catch (error) {
    if (error instanceof DroverError && error.code === 'block.corrupt') return 'refused';
    throw error;
  }
}

/** Text that repeats itself, of any length; and bytes that do not. */
const content = fc.oneof(
  fc.uint8Array({ maxLength: 3000 }),
  fc
    .tuple(fc.array(fc.string({ maxLength: 30 }), { minLength: 1, maxLength: 8 }), fc.nat({ max: 200_000 }))
    .map(([words, length]) => Buffer.alloc(length, words.join('-') || 'x')),
);

it('says so when its library is missing: to a writer at once, to a reader with the block', async () => {
  vi.resetModules();
  vi.doMock('node:module', () => ({
    createRequire: () => () => {
      throw new Error('no library');
    },
  }));
  try {
    const without = await import('./snappy.ts');
    expect(() => without.requireSnappy()).toThrow(expect.objectContaining({ code: 'config.invalid' }));
    const stored = compressSnappy(Buffer.alloc(600));
    expect(() => without.decompressSnappy(stored, 600)).toThrow(
      expect.objectContaining({ code: 'block.codec' }),
    );
    expect(() => without.decompressSnappy(stored, 601)).toThrow(refused);
  } finally {
    vi.doUnmock('node:module');
    vi.resetModules();
  }
});

describe('snappy', () => {
  it('gives back what it was given', () => {
    fc.assert(
      fc.property(content, (bytes) => {
        const stored = compressSnappy(bytes);
        expect(decompressSnappy(stored, bytes.length).equals(bytes)).toBe(true);
      }),
    );
  });

  it('reads the format as it is written down', () => {
    const stored = Buffer.from([9, ...literal('abc'), ...copy(6, 3)]);
    expect(decompressSnappy(stored, 9).toString()).toBe('abcabcabc');
  });

  it('keeps what it gave out when it is called again', () => {
    const [first, second] = [
      compressSnappy(Buffer.alloc(5000, 'ab')),
      compressSnappy(Buffer.alloc(5000, 'cd')),
    ];
    const content = decompressSnappy(first, 5000);
    decompressSnappy(second, 5000);
    expect(content.equals(Buffer.alloc(5000, 'ab'))).toBe(true);
  });

  it('refuses what says another length than the block', () => {
    const stored = compressSnappy(Buffer.alloc(3000, 'order'));
    for (const bytes of [0, 1, 2999, 3001, 64 * 1024 * 1024]) {
      expect(() => decompressSnappy(stored, bytes)).toThrow(refused);
    }
    // A preamble that is missing, cut, longer than it may be, or beyond any block.
    for (const front of [[], [0x80], [0xff, 0xff, 0xff, 0xff, 0xff, 0x0f], [0xff, 0xff, 0xff, 0xff, 0x7f]]) {
      for (const bytes of [0, 1, 0xffff_ffff]) {
        if (front.length === 0 && bytes === 0) continue;
        expect(() => decompressSnappy(Buffer.from(front), bytes)).toThrow(refused);
      }
    }
  });

  it('refuses a few bytes that declare many, before there is memory for them', () => {
    const declared = 64 * 1024 * 1024;
    const stored = Buffer.from([0x80, 0x80, 0x80, 0x20, ...literal('a'), ...copy(64, 1)]);
    // Not the library's word, which would have come after the allocation.
    expect(() => decompressSnappy(stored, declared)).toThrow('too short for what it declares');
    expect(() => decompressSnappy(stored, 65)).toThrow('not as long as declared');
  });

  it('takes the most that can stand in so few bytes', () => {
    const bytes = 1 + 64 * 2000;
    const front = [(bytes & 0x7f) | 0x80, ((bytes >> 7) & 0x7f) | 0x80, bytes >> 14];
    const copies = Array.from({ length: 2000 }, () => copy(64, 1)).flat();
    expect(
      decompressSnappy(Buffer.from([...front, ...literal('a'), ...copies]), bytes).equals(
        Buffer.alloc(bytes, 'a'),
      ),
    ).toBe(true);
  });

  it('decodes or refuses any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat({ max: 3000 }), (bytes, length) => {
        outcome(Buffer.from(bytes), length);
        // And behind a length that is right, so that the elements are looked at.
        outcome(Buffer.concat([Buffer.from([(length & 0x7f) | 0x80, length >> 7]), bytes]), length);
      }),
      { numRuns: 3000 },
    );
  });

  it('decodes or refuses what was damaged', () => {
    const counts = { decoded: 0, refused: 0 };
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(content, damage, fc.boolean(), (bytes, hits, cut) => {
        const stored = Buffer.from(compressSnappy(bytes));
        for (const [at, value] of hits) stored[at % stored.length] = value;
        const given = cut ? stored.subarray(0, (hits[0]?.[0] ?? 0) % stored.length) : stored;
        counts[outcome(given, bytes.length)]++;
      }),
      { numRuns: 2000 },
    );
    // Both happen, or the damage is not what it should be.
    expect(counts.decoded).toBeGreaterThan(50);
    expect(counts.refused).toBeGreaterThan(500);
  });
});
