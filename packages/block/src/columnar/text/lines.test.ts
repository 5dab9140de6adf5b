/** Values come back byte for byte whichever bytes they hold; what holds all terminators is left alone. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Plan } from '../plan.ts';
import { linesCodec } from './lines.ts';
import { damage, newSink, roundTrip, slicesOf, streamsOf, textsOf } from './test-support.ts';

const codec = linesCodec(20);
const names = Array.from({ length: 40 }, (_, i) => `name.${i}@example.com`);

describe('lines codec', () => {
  it.each([
    ['text', names],
    ['empty values', [...names, '', '', '']],
    ['line feeds', [...names, 'a\nb']],
    ['line feeds and zeros', [...names, 'a\n\0b', '\n']],
    ['all but one', [...names, '\n\0\t']],
    ['other encodings', [...names, Buffer.from([0xff, 0x0a, 0x80])]],
  ])('%s', (_name, values) => {
    const slices = slicesOf(values);
    expect(roundTrip(codec, slices, new Plan())).toEqual(textsOf(slices));
  });

  it('declines few values, and values that hold every terminator', () => {
    const sink = newSink();
    expect(codec.encode(slicesOf(['a', 'b']), sink, new Plan())).toBe(false);
    expect(codec.encode(slicesOf([...names, '\n\0\t\u001f']), sink, new Plan())).toBe(false);
    expect(streamsOf(sink)).toEqual(streamsOf(newSink()));
  });

  it('any bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 20 }), { minLength: 8, maxLength: 40 }), (values) => {
        const slices = slicesOf(values.map((value) => Buffer.from(value)));
        const back = roundTrip(codec, slices, new Plan());
        if (back !== null) expect(back).toEqual(textsOf(slices));
      }),
    );
  });

  it('damaged streams are decoded or refused', () => {
    expect(damage(codec, names)).toBeGreaterThan(40);
  });
});
