/** Text comes back byte for byte from what differs between neighbours. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Plan } from '../plan.ts';
import { frontCodec } from './front.ts';
import { columns, damage, newSink, roundTrip, slicesOf, streamsOf, textsOf } from './test-support.ts';

const codec = frontCodec(19, columns);
const paths = Array.from({ length: 60 }, (_, i) => `/catalog/${'abcdef'[i % 6]}/${i * 37}`).sort();

describe('front codec', () => {
  it.each([
    ['sorted', paths],
    [
      'equal, empty and longer neighbours',
      [...paths, ...paths.slice(-3), paths[59]!, '', '', `${paths[59]}x`, paths[59]!],
    ],
    ['bytes that are no text', Array.from({ length: 9 }, (_, i) => Buffer.from([255, 0, 255, 254, 0, i]))],
  ])('%s', (_name, values) => {
    const slices = slicesOf(values);
    expect(roundTrip(codec, slices, new Plan())).toEqual(textsOf(slices));
  });

  it('any values come back', () => {
    const plan = new Plan();
    fc.assert(
      fc.property(fc.array(fc.stringMatching(/^ab{0,3}[cd]{0,3}$/), { maxLength: 40 }), (texts) => {
        const slices = slicesOf([...paths, ...texts]);
        expect(roundTrip(codec, slices, plan)).toEqual(textsOf(slices));
      }),
    );
  });

  it('declines values that share little, and the sink is as it was', () => {
    const sink = newSink();
    expect(codec.encode(slicesOf(paths.map((_, i) => `${i}/catalog`)), sink, new Plan())).toBe(false);
    expect(codec.encode(slicesOf(paths.slice(0, 3)), sink, new Plan())).toBe(false);
    expect(streamsOf(sink)).toEqual(streamsOf(newSink()));
  });

  it('decodes or refuses damaged streams', () => {
    expect(damage(codec, paths)).toBeGreaterThan(20);
  });
});
