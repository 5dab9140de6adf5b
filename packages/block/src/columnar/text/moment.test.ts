/** Points in time as text come back byte for byte, also those that do not exist. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Plan } from '../plan.ts';
import { momentCodec } from './moment.ts';
import { columns, damage, newSink, roundTrip, slicesOf, streamsOf, textsOf } from './test-support.ts';

const codec = momentCodec(18, columns);

const iso = (count: number) =>
  Array.from({ length: count }, (_, i) => new Date(1_790_000_000_000 + i * 977).toISOString());

function expectSame(values: readonly (string | Buffer)[], plan = new Plan()) {
  const slices = slicesOf(values);
  expect(roundTrip(codec, slices, plan)).toEqual(textsOf(slices));
}

describe('moment codec', () => {
  it.each([
    ['ISO 8601', iso(50)],
    ['whole seconds', iso(50).map((t) => `${t.slice(0, 19)}+02:00`)],
    ['PostgreSQL, microseconds', iso(50).map((t, i) => `${t.slice(0, 10)} ${t.slice(11, 23)}${100 + i}+00`)],
    [
      'PostgreSQL prints no zeros at the end',
      ['', '.1', '.12', '.000001', '.123456', '.9'].map((f) => `2026-01-31 00:00:00${f}+05:30`),
    ],
    [
      'fractions with and without zeros at the end',
      [...iso(9), '2026-01-01T00:00:00.10Z', '2026-01-01T00:00:00.1Z'],
    ],
    [
      'before 1970, year 0, year 9999',
      ['1969-12-31T23:59:59.999Z', '1970-01-01T00:00:00.000Z', '1969-12-31T23:59:59.000Z'],
    ],
    ['years far from each other', [...iso(20), '0000-01-01T00:00:00.000Z', '9999-12-31T23:59:59.999Z']],
    ['BC', Array.from({ length: 9 }, (_, i) => `4713-01-0${i + 1} 00:00:00+00 BC`)],
    [
      'dates that do not exist',
      [
        ...iso(30),
        '2026-02-29T00:00:00.000Z',
        '2024-02-29T00:00:00.000Z',
        '1900-02-29T00:00:00.000Z',
        '2026-04-31T00:00:00.000Z',
      ],
    ],
    [
      'hours that do not exist',
      [
        ...iso(30),
        '2026-02-01T24:00:00.000Z',
        '2026-02-01T23:60:00.000Z',
        '2026-02-01T23:59:60.000Z',
        '2026-00-10T00:00:00.000Z',
      ],
    ],
    [
      'others among them',
      [
        ...iso(30),
        'infinity',
        '-infinity',
        '',
        '10000-01-01T00:00:00.000Z',
        '2026-01-01',
        '2026-01-01T00:00:00.',
      ],
    ],
    [
      'other zones, separators and fractions',
      [...iso(30), '2026-01-01T00:00:00.000z', '2026-01-01 00:00:00.000Z', '2026-01-01T00:00:00.0000000001Z'],
    ],
    [
      'nanoseconds',
      [...iso(30), ...Array.from({ length: 9 }, (_, i) => `2026-01-01T00:00:00.00000000${i}Z`)],
    ],
  ])('%s', (_name, values) => {
    expectSame(values);
  });

  it('serves other values by the same plan', () => {
    const plan = new Plan();
    expectSame(iso(20), plan);
    expectSame(
      iso(20).map((t) => t.replace('T', ' ').replace('Z', '')),
      plan,
    );
  });

  it('declines what is something else, and the sink is as it was', () => {
    const sink = newSink();
    const text = Array.from({ length: 20 }, (_, i) => `on 2026-01-01T00:00:${10 + i}`);
    expect(codec.encode(slicesOf(text), sink, new Plan())).toBe(false);
    expect(codec.encode(slicesOf([...iso(2), 'a', 'b']), sink, new Plan())).toBe(false);
    expect(streamsOf(sink)).toEqual(streamsOf(newSink()));
  });

  it('any values come back', () => {
    const moment = fc
      .record({
        ms: fc.date({ noInvalidDate: true }),
        digits: fc.nat(8),
        tail: fc.constantFrom('Z', 'Z', 'Z', '+00', ''),
      })
      .map(
        ({ ms, digits, tail }) =>
          `${ms.toISOString().slice(0, 19)}${digits ? `.${String(ms.getTime()).slice(-digits)}` : ''}${tail}`,
      );
    fc.assert(
      fc.property(
        fc.array(fc.oneof({ weight: 9, arbitrary: moment }, fc.string()), { maxLength: 30 }),
        (texts) => {
          const slices = slicesOf([...iso(40), ...texts]);
          const back = roundTrip(codec, slices, new Plan());
          if (back !== null) expect(back).toEqual(textsOf(slices));
        },
      ),
    );
  });

  it('decodes or refuses damaged streams', () => {
    const values = [...iso(30), 'infinity', '2026-01-01'];
    expect(damage(codec, values)).toBeGreaterThan(20);
  });
});
