/** Text with numbers in it comes back byte for byte. */
import { describe, expect, it } from 'vitest';
import { Plan } from './plan.ts';
import { templateCodec } from './template.ts';
import { columns, newSink, roundTrip, slicesOf, streamsOf, textsOf } from './text/test-support.ts';

const codec = templateCodec(16, columns);

function expectSame(values: readonly (string | Buffer)[], plan = new Plan()) {
  const slices = slicesOf(values);
  expect(roundTrip(codec, slices, plan)).toEqual(textsOf(slices));
}

const numbered = (count: number) =>
  Array.from({ length: count }, (_, i) => `ORD-2026-${String(i).padStart(6, '0')}/x`);

describe('template codec', () => {
  it.each([
    ['order numbers', numbered(100)],
    ['natural numbers', Array.from({ length: 100 }, (_, i) => `/products/${i * i}`)],
    [
      'several skeletons',
      Array.from({ length: 100 }, (_, i) => ['/a/', '/b/c?', '', 'z'][i % 4] + String(i)),
    ],
    ['leading zeros of all widths', ['a0', 'a00', 'a01', 'a1', 'a10', 'a010', 'a0000000000']],
    ['one width', ['v01', 'v10', 'v99', 'v00']],
    ['empty values among them', ['', '1', '', '22', '']],
    ['signs', ['-1', '+1', '--1', '1-', '1-2', '-0', '0']],
    [
      'runs of 15 and more',
      ['1'.repeat(15), '9'.repeat(15), '1'.repeat(16), `0${'9'.repeat(14)}`, '0'.repeat(15), '0'.repeat(16)],
    ],
    ['runs of 16 beside others', Array.from({ length: 40 }, (_, i) => `a${'9'.repeat(16)}b${i}`)],
    ['digits that are not ASCII', ['٣1', '３2', '१3', '²4', '５５5']],
    [
      'other encodings',
      Array.from({ length: 30 }, (_, i) => Buffer.from([0xff, 0x30 + (i % 10), 0xfe, 0x00])),
    ],
    [
      'skeletons of the same hash',
      ['costarring1', 'liquid2', 'declinate3', 'macallums4', 'altarage5', 'zinke6'],
    ],
    ['trailing blanks', ['1 ', '2  ', '3', '4    ']],
    [
      'the same number twice',
      Array.from({ length: 60 }, (_, i) => `v${i * 7}.0.0 (build ${i * 7}, 0${i * 7})`),
    ],
    [
      'many skeletons of few values',
      Array.from(
        { length: 120 },
        (_, i) => `${'abcdefghijklmno'[i % 15]}/${i % 23}/x/${i % 23}/${(i * 7) % 5}`,
      ),
    ],
    ['zeros in the text', Array.from({ length: 60 }, (_, i) => `\0a\0${i}\0`)],
    ['one number in all values', Array.from({ length: 60 }, (_, i) => `v007/${i}/8080`)],
    ['BOM and combining marks', ['\ufeff1', 'e\u03012', '\u00e93', '😀4']],
    [
      'sixteen runs',
      Array.from({ length: 20 }, (_, i) => Array.from({ length: 16 }, (_, k) => i * k).join('.')),
    ],
  ])('%s', (_name, values) => {
    expectSame(values);
  });

  it('carries values beyond its caps as text', () => {
    const many = Array.from({ length: 17 }, (_, k) => k).join('.');
    expectSame([...numbered(50), many, `${'x'.repeat(5000)}1`, ...numbered(50), many]);
  });

  it.each([1, 2, 3, 7, 8, 9, 63, 64, 65, 1023, 1024, 1025])('%i rows', (rows) => {
    expectSame(numbered(rows));
  });

  it('declines what has no runs of digits, or a skeleton per value', () => {
    const sink = newSink();
    expect(codec.encode(slicesOf([]), sink, new Plan())).toBe(false);
    expect(codec.encode(slicesOf(['a', 'b', 'a']), sink, new Plan())).toBe(false);
    const hex = Array.from({ length: 200 }, (_, i) => Math.sin(i).toString(16));
    expect(codec.encode(slicesOf(hex), sink, new Plan())).toBe(false);
    expect(streamsOf(sink)).toEqual(streamsOf(newSink()));
  });

  it('a plan made on some values serves any others, also when skeletons run out', () => {
    const plan = new Plan();
    expectSame(numbered(100), plan);
    for (let round = 0; round < 40; round++) {
      const name = (i: number) => `${'abcdefghijkl'.slice(i % 12)}${round}x${'yz'.repeat(round)}${i}`;
      const values = slicesOf(Array.from({ length: 200 }, (_, i) => name(i)));
      const back = roundTrip(codec, values, plan);
      if (back !== null) expect(back).toEqual(textsOf(values));
    }
    expectSame(numbered(100), plan);
  });
});
