/** Digits and days agree with the runtime's own. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dateOf, daysOf } from './calendar.ts';
import { DECIMAL_BYTES_MAX, digitsOf, putDecimal, putNatural, putPadded } from './digits.ts';

const END = 10 ** 15;
const EDGES = [0, 1, 9, 10, 99, 100, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 10 ** 7, 10 ** 14, END - 1];
const natural = fc.oneof(
  fc.constantFrom(...EDGES),
  fc.nat(),
  fc.maxSafeNat().map((n) => n % END),
);

function written(put: (out: Buffer, at: number) => number): string {
  const out = Buffer.alloc(DECIMAL_BYTES_MAX + 2, 'x');
  const end = put(out, 1);
  expect(out[0]).toBe(0x78);
  expect(out[end]).toBe(0x78);
  return out.toString('latin1', 1, end);
}

describe('digits', () => {
  it('of natural numbers, with and without zeros in front', () => {
    fc.assert(
      fc.property(natural, fc.nat(5), (value, more) => {
        const text = String(value);
        expect(digitsOf(value)).toBe(text.length);
        expect(written((out, at) => putNatural(out, at, value))).toBe(text);
        expect(written((out, at) => putPadded(out, at, value, text.length + more))).toBe(
          '0'.repeat(more) + text,
        );
      }),
    );
  });

  it('of decimals', () => {
    fc.assert(
      fc.property(natural, fc.boolean(), fc.nat(15), (value, negative, scale) => {
        const text = String(value).padStart(scale + 1, '0');
        const point = text.length - scale;
        const shown = `${text.slice(0, point)}${scale > 0 ? '.' : ''}${text.slice(point)}`;
        const minus = negative && value > 0;
        expect(written((out, at) => putDecimal(out, at, minus ? -value : value, scale))).toBe(
          (minus ? '-' : '') + shown,
        );
      }),
    );
  });
});

describe('days', () => {
  it('are those of the Gregorian calendar, from year 0 to 9999', () => {
    for (let days = -719_528; days <= 2_932_896; days += 13) {
      const date = new Date(days * 86_400_000);
      const [year, month, day] = [date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate()];
      if (daysOf(year, month, day) !== days || dateOf(days) !== year * 10_000 + month * 100 + day) {
        expect.fail(`day ${days}`);
      }
    }
  });
});
