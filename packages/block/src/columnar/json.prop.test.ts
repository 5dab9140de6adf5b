/** Any documents come back byte for byte; no bytes make the decoder do anything but decode or refuse. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { jsonCodec } from './json.ts';
import { Plan } from './plan.ts';
import { templateCodec } from './template.ts';
import {
  columns,
  damage,
  decodeHostile,
  newSink,
  roundTrip,
  slicesOf,
  streamsOf,
  textsOf,
} from './text/test-support.ts';

const json = jsonCodec(17, columns);
const template = templateCodec(16, columns);

const number = fc.oneof(
  fc.integer().map(String),
  fc.bigInt().map(String),
  fc.double().map(String),
  fc.tuple(fc.integer(), fc.stringMatching(/^\d{0,20}$/)).map(([whole, part]) => `${whole}.${part}`),
  fc.stringMatching(/^[-+.eE0-9]{1,6}$/),
);
const key = fc.oneof(fc.constantFrom('a', 'b', 'id', '', '__proto__', 'a.b'), fc.string({ maxLength: 4 }));
const quoted = (text: string) => JSON.stringify(text);

/** Texts spelt one way throughout. */
const documentOf = (comma: string, colon: string) =>
  fc.letrec<{ value: string }>((tie) => ({
    value: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      number,
      fc.constantFrom('null', 'true', 'false', '""', '{}', '[]'),
      fc.string({ unit: 'binary', maxLength: 8 }).map(quoted),
      fc.array(tie('value'), { maxLength: 4 }).map((values) => `[${values.join(comma)}]`),
      fc
        .array(fc.tuple(key, tie('value')), { maxLength: 4 })
        .map((entries) => `{${entries.map(([k, v]) => `${quoted(k)}${colon}${v}`).join(comma)}}`),
    ),
  })).value;

const documents = fc
  .constantFrom([', ', ': '], [',', ':'], [', ', ':'], [',', ': '])
  .chain(([comma, colon]) => {
    const document = fc.oneof(
      { weight: 12, arbitrary: documentOf(comma!, colon!) },
      { weight: 1, arbitrary: documentOf(' ,', ':') },
      { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 12 }) },
    );
    return fc.tuple(fc.array(document, { maxLength: 12 }), fc.constant([comma!, colon!] as const));
  })
  .map(([texts, [comma, colon]]) => {
    const filler = Array.from(
      { length: 24 },
      (_, i) => `{"id"${colon}${i}${comma}"a"${colon}[true${comma}"x"]}`,
    );
    return [...filler.slice(0, 12), ...texts, ...filler.slice(12)];
  });

const withNumbers = fc.array(
  fc
    .array(
      fc.oneof(
        fc.constantFrom('a', '/b/', '-', '٣', '00', ''),
        fc.nat().map(String),
        fc.stringMatching(/^\d{13,18}$/),
      ),
    )
    .map((parts) => parts.join('')),
  { maxLength: 60 },
);

describe('json codec', () => {
  it('gives any documents back byte for byte', () => {
    let taken = 0;
    fc.assert(
      fc.property(documents, (texts) => {
        const values = slicesOf(texts);
        const back = roundTrip(json, values, new Plan());
        if (back === null) return;
        taken++;
        expect(back).toEqual(textsOf(values));
      }),
      { numRuns: 250 },
    );
    expect(taken).toBeGreaterThan(120);
  });

  it('gives them back by a plan made on others', () => {
    const plan = new Plan();
    fc.assert(
      fc.property(documents, (texts) => {
        const values = slicesOf(texts);
        const back = roundTrip(json, values, plan);
        if (back !== null) expect(back).toEqual(textsOf(values));
      }),
      { numRuns: 300 },
    );
  });
});

describe('template codec', () => {
  it('gives any text back byte for byte, also by a plan made on others', () => {
    const plan = new Plan();
    fc.assert(
      fc.property(withNumbers, (texts) => {
        const values = slicesOf(texts);
        for (const used of [new Plan(), plan]) {
          const back = roundTrip(template, values, used);
          if (back !== null) expect(back).toEqual(textsOf(values));
        }
      }),
      { numRuns: 400 },
    );
  });
});

describe.each([
  [
    'json',
    json,
    Array.from({ length: 30 }, (_, i) =>
      i % 7 === 6
        ? '{"odd" : 1}'
        : `{"id": ${i}, "p": ${i % 3}.50, "t": ["a", {"x": null}], "e": 1e${i}, "b": ${i % 2 === 0}}`,
    ),
  ],
  [
    'template',
    template,
    Array.from({ length: 40 }, (_, i) =>
      i === 9 ? `${'z'.repeat(1100)}1` : `/a/${i}/b${i % 2 ? `?n=0${i}` : ''}`,
    ),
  ],
] as const)('%s codec, damaged streams', (_name, codec, texts) => {
  it('cut at every byte, every byte changed, other counts', () => {
    expect(damage(codec, texts)).toBeGreaterThan(100);
  });

  it('bytes from nowhere', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.uint8Array({ maxLength: 50 }),
        fc.nat(300),
        (a, b, count) => {
          const none = Buffer.alloc(0);
          decodeHostile(
            codec,
            { numbers: Buffer.from(a), text: Buffer.from(b), planes: none, random: none },
            count,
          );
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('several bytes changed', () => {
    const sink = newSink();
    expect(codec.encode(slicesOf(texts), sink, new Plan())).toBe(true);
    const streams = streamsOf(sink);
    const change = fc.tuple(fc.constantFrom('numbers', 'text'), fc.nat(), fc.nat(255));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), (changes) => {
        const copies = { ...streams, numbers: Buffer.from(streams.numbers), text: Buffer.from(streams.text) };
        for (const [name, at, value] of changes) {
          const bytes = name === 'text' ? copies.text : copies.numbers;
          bytes[at % bytes.length] = value;
        }
        decodeHostile(codec, copies, texts.length);
      }),
      { numRuns: 1000 },
    );
  });
});
