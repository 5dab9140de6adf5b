/** Columns of bytes come back in every codec, chosen or wanted by a plan made for other data. */
import { describe, expect, it } from 'vitest';
import { compress } from '../zstd.ts';
import { Plan } from './plan.ts';
import { newSink, sinkSize } from './streams.ts';
import { TextCode } from './strings/codes.ts';
import { decodeStrings, encodeStrings } from './strings.ts';
import { texts, uuids } from './test-values.ts';
import { COUNTS, roundTrip, seeded, slicesOf, slicesToHex } from './testing.ts';
import './wire.ts';

function same(values: readonly (Buffer | string)[], plan: Plan): void {
  const slices = slicesOf(values);
  const back = roundTrip(
    (sink) => encodeStrings(slices, sink, plan),
    (source) => decodeStrings(source, values.length),
  );
  expect(slicesToHex(back)).toEqual(slicesToHex(slices));
}

function chosen(values: readonly (Buffer | string)[]): number {
  const plan = new Plan();
  same(values, plan);
  return plan.choice;
}

const list = (count: number, at: (i: number) => Buffer | string): (Buffer | string)[] =>
  Array.from({ length: count }, (_, i) => at(i));
const MANNERS = [...texts(), ...uuids()];

describe('columns of bytes', () => {
  it('come back in any number and every manner, under the plan of every other', () => {
    const plans = MANNERS.map(() => new Plan());
    for (const count of COUNTS.filter((n) => n < 1000)) {
      MANNERS.forEach((manner, m) => {
        const draw = manner(seeded(count));
        const values = list(count, draw);
        same(values, plans[m]!);
        same(values, plans[(m + 3) % plans.length]!);
      });
    }
  });

  it('come back whatever codec a plan wants', () => {
    for (let code = 0; code < 24; code++) {
      for (const manner of MANNERS) {
        const plan = new Plan();
        plan.settle(code, 0, 0);
        same(list(40, manner(seeded(code))), plan);
      }
    }
  });

  it('tell an empty value, trailing blanks and control bytes apart', () => {
    same(['', ' ', '  ', '\0', '\0\0', '\u0001', 'a ', 'a'], new Plan());
    same(
      list(70, (i) => ' '.repeat(i % 5)),
      new Plan(),
    );
  });

  it('with few values are a dictionary, an outlier at the end included', () => {
    const random = seeded(1);
    expect(chosen(list(1000, () => ['new', 'paid', 'shipped'][Math.floor(random() * 3)]!))).toBe(
      TextCode.dict,
    );
    const sink = newSink();
    encodeStrings(slicesOf(list(1000, (i) => (i === 999 ? 'outlier' : 'constant'))), sink, new Plan());
    expect(compress(sink.text.written, 3).length + sink.numbers.size + sink.random.size).toBeLessThan(60);
  });

  it('with as many values as a dictionary may have, one fewer, one more', () => {
    for (const distinct of [749, 750, 751, 999, 1000])
      same(
        list(1000, (i) => `${i % distinct} v`),
        new Plan(),
      );
  });

  it('with values that differ only in a byte that the hash does not see', () => {
    const base = Buffer.alloc(500, 7);
    const values = list(200, (i) => {
      const out = Buffer.from(base);
      out[1 + (i % 100) * 4] = 8;
      return out;
    });
    same(values, new Plan());
  });

  it('of random bytes are not compressed', () => {
    const random = seeded(8);
    const noise = list(300, () => Buffer.from(list(16, () => '').map(() => Math.floor(random() * 256))));
    const sink = newSink();
    encodeStrings(slicesOf(noise), sink, new Plan());
    expect(sink.random.size).toBeGreaterThan(4700);
    expect(sinkSize(sink)).toBeLessThan(4900);
  });
});

describe('uuids', () => {
  it('take 14 bytes and 10 bits, as text too', () => {
    const draw = uuids()[0]!(seeded(2));
    const binary = list(1000, draw) as Buffer[];
    const text = binary.map((value) =>
      value.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'),
    );
    for (const values of [binary, text]) {
      const sink = newSink();
      encodeStrings(slicesOf(values), sink, new Plan());
      expect(sinkSize(sink)).toBeLessThan(15_300);
    }
  });

  it('in upper case, in braces or without dashes are text', () => {
    const uuid = '0189f7ea-3c2b-4000-8000-0123456789ab';
    for (const other of [uuid.toUpperCase(), `{${uuid}}`, uuid.replaceAll('-', ''), uuid.replace('-', '_')]) {
      same(
        list(20, (i) => (i === 7 ? other : uuid.slice(0, -1) + (i % 10))),
        new Plan(),
      );
    }
  });
});
