import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { intBounds } from '../values/types.ts';
import { ALPHABETS, alphabetOf } from './alphabets.ts';
import { keepIntFormat, keepTextFormat, keepUuidFormat } from './format-keeping.ts';
import { hashText, hashUuid, maskKey, partialText } from './mask.ts';
import { permute } from './permute.ts';

const key = maskKey('a secret', 'format', '');
const other = maskKey('another secret', 'format', '');
const tweak = Buffer.from('t');

/** What format-keeping must not change. */
const formOf = (text: string) =>
  Array.from(text, (c) => {
    const alphabet = alphabetOf(c.codePointAt(0)!);
    return alphabet < 0 ? c : `#${alphabet}`;
  }).join('');

const letters = fc.array(
  fc.oneof(
    fc.constantFrom(...Array.from('aZ09-_ @.éЖßñ日한ا٣')),
    fc.integer({ min: 0, max: ALPHABETS.length - 1 }).chain((i) => {
      const { first, size } = ALPHABETS[i]!;
      return fc.integer({ min: first, max: first + size - 1 }).map((c) => String.fromCodePoint(c));
    }),
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 }),
  ),
  { maxLength: 120 },
);

describe('permute', () => {
  it('is a permutation of every small domain', () => {
    for (const n of [1, 2, 3, 10, 26, 97, 100, 260, 1000]) {
      const out = new Set(Array.from({ length: n }, (_, x) => permute(key, tweak, BigInt(x), BigInt(n))));
      expect(out.size).toBe(n);
      for (const value of out) expect(value >= 0n && value < BigInt(n)).toBe(true);
    }
  });

  it('is another one under another key or tweak', () => {
    const run = (k: Buffer, t: string) =>
      Array.from({ length: 100 }, (_, x) => Number(permute(k, Buffer.from(t), BigInt(x), 100n)));
    expect(run(key, 'a')).not.toEqual(run(other, 'a'));
    expect(run(key, 'a')).not.toEqual(run(key, 'b'));
    expect(run(key, 'a').filter((v, x) => v === x).length).toBeLessThan(10);
  });
});

describe('format-keeping', () => {
  it('keeps the form of a text, is the same each time, and takes nothing for itself', () => {
    fc.assert(
      fc.property(letters, (parts) => {
        const text = parts.join('');
        const kept = keepTextFormat(key, text);
        expect(formOf(kept)).toBe(formOf(text));
        expect(keepTextFormat(key, text)).toBe(kept);
      }),
      { numRuns: 150 },
    );
  });

  it('is bijective: all texts of one form become all texts of that form', () => {
    const all = Array.from({ length: 2600 }, (_, i) =>
      `x${String.fromCharCode(97 + (i % 26))}-${String(Math.floor(i / 26)).padStart(2, '0')}`.slice(1),
    );
    expect(new Set(all.map((text) => keepTextFormat(key, text)))).toEqual(new Set(all));
  });

  it('never joins two texts that differ in one character, wherever it stands', () => {
    const long = 'Some rather long text of 200 letters and 17 digits. '.repeat(4);
    fc.assert(
      fc.property(fc.nat(long.length - 1), fc.constantFrom(...Array.from('abcXYZ019 ')), (at, c) => {
        const changed = long.slice(0, at) + c + long.slice(at + 1);
        expect(keepTextFormat(key, changed) === keepTextFormat(key, long)).toBe(changed === long);
      }),
      { numRuns: 40 },
    );
  });

  it('keeps sign, digits and type of integers, one to one', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(2, 4, 8),
        fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
        fc.nat(18),
        (size, raw, less) => {
          const { min, max } = intBounds(size);
          const value = (raw / 10n ** BigInt(less)) % (max + 1n);
          const kept = keepIntFormat(key, value, size);
          expect(kept >= min && kept <= max).toBe(true);
          expect(kept < 0n).toBe(value < 0n);
          expect(String(kept).length).toBe(String(value).length);
        },
      ),
      { numRuns: 150 },
    );
    const all = Array.from({ length: 1999 }, (_, i) => BigInt(i - 999));
    expect(new Set(all.map((v) => keepIntFormat(key, v, 4)))).toEqual(new Set(all));
    const top = Array.from({ length: 768 }, (_, i) => BigInt(32_000 + i));
    expect(new Set(top.map((v) => keepIntFormat(key, v, 2))).size).toBe(768);
    expect(keepIntFormat(key, -32_768n, 2) >= -32_768n).toBe(true);
  });

  it('makes uuids of uuids', () => {
    const one = Buffer.alloc(16);
    const two = Buffer.from(one);
    two[15] = 1;
    expect(keepUuidFormat(key, one)).toHaveLength(16);
    expect(keepUuidFormat(key, one)).not.toEqual(keepUuidFormat(key, two));
  });
});

describe('the others', () => {
  it('hashes depend on secret and scope, and are the same each time', () => {
    const keys = [maskKey('s', 'hash', ''), maskKey('s', 'hash', 'people'), maskKey('t', 'hash', '')];
    const seen = keys.map((k) => hashText(k, 'ada@example.com', 64));
    expect(new Set(seen).size).toBe(3);
    expect(hashText(maskKey('s', 'hash', ''), 'ada@example.com', 32)).toBe(seen[0]!.slice(0, 32));
    // Pinned: replicas hold these values, so the derivation is a contract.
    expect(hashText(maskKey('s', 'hash', ''), 'ada@example.com', 16)).toMatchInlineSnapshot(
      `"aa3fd836b097a68d"`,
    );
    expect(keepTextFormat(maskKey('s', 'format', ''), '+49 170 1234567')).toMatchInlineSnapshot(
      `"+69 649 5632627"`,
    );
    expect(keepIntFormat(maskKey('s', 'format', ''), 4711n, 4)).toMatchInlineSnapshot(`7267n`);
    expect(hashUuid(keys[0]!, Buffer.alloc(16)).toString('hex')).toMatchInlineSnapshot(
      `"a08ff0b0f90c8ee7a2d35a93d2e69e65"`,
    );
  });

  it('partial shows what it was told to and never more', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.nat(4), fc.nat(4), (text, first, last) => {
        const shown = Array.from(partialText(text, { first, last, fill: '*' }));
        const plain = Array.from(text);
        expect(shown).toHaveLength(plain.length);
        const hidden = plain.length > first + last ? plain.length - first - last : plain.length;
        const from = plain.length > first + last ? first : 0;
        expect(shown.slice(from, from + hidden).every((c) => c === '*')).toBe(true);
        if (plain.length > first + last) {
          expect(shown.slice(0, first)).toEqual(plain.slice(0, first));
          expect(shown.slice(plain.length - last)).toEqual(plain.slice(plain.length - last));
        }
      }),
    );
  });
});
