/** The codecs of text within the real encoding of columns: chosen where they pay, exact, and safe against damage. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Plan } from '../plan.ts';
import { documentCodecs, type StringCodec, stringCodecs } from '../registry.ts';
import { decodeAmong, encodeAmong } from '../strings.ts';
import { registerTextCodecs, TextCodecId } from './register.ts';
import { damage, decodeHostile, newSink, roundTrip, slicesOf, streamsOf, textsOf } from './test-support.ts';

registerTextCodecs();
const all = [...stringCodecs, ...documentCodecs];

/** A column of documents, as a whole. */
const column: StringCodec = {
  id: 255,
  name: 'column',
  encode(values, sink, plan) {
    encodeAmong(all, values, sink, plan, 0);
    return true;
  },
  decode: (source, count) => decodeAmong(all, source, count, 0),
};

function chosen(values: readonly string[]): number {
  const sink = newSink();
  column.encode(slicesOf(values), sink, new Plan());
  return streamsOf(sink).numbers[0] ?? -1;
}

const shades = ['red', 'green', 'blue'];
const documents = Array.from({ length: 120 }, (_, i) =>
  i % 3 === 0
    ? `{"id": ${i}, "at": "2026-11-21T09:${10 + (i % 50)}:00Z", "shade": "${shades[(i % 7) % 3]}"}`
    : `{"ref": "ORD-${1000 + i}", "lines": [{"sku": "A-${i % 5}", "price": ${i % 9}.50}], "gift": ${i % 2 === 0}}`,
);

describe('text codecs among the others', () => {
  it('are registered once', () => {
    registerTextCodecs();
    expect(all.map((codec) => codec.id)).toEqual([16, 18, 19, 20, 17]);
  });

  it('are chosen where they pay', () => {
    expect(chosen(documents)).toBe(TextCodecId.json);
    expect(chosen(Array.from({ length: 200 }, (_, i) => `ORD-${1000 + i}-EU`))).toBe(TextCodecId.template);
    const paths = Array.from({ length: 400 }, (_, i) => `/shop/${'abcdefgh'[i % 8]}/item-of-${Math.sin(i)}`);
    expect(chosen(paths.sort())).toBe(TextCodecId.front);
    const times = Array.from({ length: 200 }, (_, i) =>
      new Date(1_790_000_000_000 + i * 61_013).toISOString(),
    );
    expect(chosen(times)).toBe(TextCodecId.moment);
  });

  it('documents come back, by plans made on others too', () => {
    const plan = new Plan();
    const json = fc.json({ maxDepth: 4 });
    fc.assert(
      fc.property(fc.array(json, { maxLength: 30 }), fc.nat(120), (texts, some) => {
        const values = slicesOf([...documents.slice(0, some), ...texts]);
        expect(roundTrip(column, values, plan)).toEqual(textsOf(values));
        expect(roundTrip(column, values, new Plan())).toEqual(textsOf(values));
      }),
      { numRuns: 40 },
    );
  });

  it('damaged streams are decoded or refused', () => {
    expect(damage(column, documents)).toBeGreaterThan(200);
  });

  it('documents within documents are refused, not followed', () => {
    const sink = newSink();
    column.encode(slicesOf(documents), sink, new Plan());
    const streams = streamsOf(sink);
    for (let at = 1; at < streams.numbers.length; at++) {
      const numbers = Buffer.from(streams.numbers);
      numbers[at] = TextCodecId.json;
      decodeHostile(column, { ...streams, numbers }, documents.length);
    }
    const text = slicesOf(documents.map((d) => `{"a": ${JSON.stringify(d)}}`));
    expect(roundTrip(column, text, new Plan())).toEqual(textsOf(text));
  });
});
