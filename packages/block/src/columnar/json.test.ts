/** Documents come back byte for byte, however they are spelt; where splitting does not pay they are left alone. */
import { describe, expect, it } from 'vitest';
import { jsonCodec } from './json.ts';
import { Plan } from './plan.ts';
import { columns, newSink, roundTrip, slicesOf, streamsOf, textsOf } from './text/test-support.ts';

const codec = jsonCodec(17, columns);

/** Enough well-behaved documents that the codec takes the column, with `documents` among them. */
function among(documents: readonly (string | Buffer)[], colon = ': ', comma = ', '): (string | Buffer)[] {
  const filler = Array.from(
    { length: 40 + 2 * documents.length },
    (_, i) => `{"user"${colon}${i}${comma}"plan"${colon}"free"${comma}"limits"${colon}{"seats"${colon}5}}`,
  );
  return [...filler.slice(0, 20), ...documents, ...filler.slice(20)];
}

function expectSame(documents: readonly (string | Buffer)[], plan = new Plan()) {
  const values = slicesOf(documents);
  expect(roundTrip(codec, values, plan)).toEqual(textsOf(values));
}

describe('json codec', () => {
  it.each([
    ['canonical jsonb', '{"a": 1, "bb": [1, 2, {"c": null}], "ccc": {"d": true, "e": "x"}}'],
    ['compact', '{"a":1,"bb":[1,2,{"c":null}],"ccc":{"d":true,"e":"x"}}'],
    ['line breaks and indents', '{\n  "a": 1,\n  "b": [ ]\n}'],
    ['mixed spelling', '{"a": 1,"b":2}'],
    ['blanks around', ' {"a": 1} '],
    ['empty object and array', '{"a": {}, "b": [], "c": [[], [[]], {}]}'],
    ['scalars at the top', 'null'],
    ['a number at the top', '12'],
    ['a string at the top', '"x"'],
    ['duplicate keys', '{"a": 1, "a": "one", "a": 1}'],
    ['__proto__', '{"__proto__": {"x": 1}, "constructor": 2, "toString": 3}'],
    ['empty key, dots and brackets', '{"": 1, "a.b": 2, "a[0]": 3, "a": {"b": 4}}'],
    ['escapes', '{"k\\u0041\\"": "\\" \\\\ \\/ \\b \\u0000 \\ud83d\\ude00 \\ud83d"}'],
    ['a backslash before the quote', '{"a": "\\\\", "b": "\\\\\\""}'],
    ['control bytes in strings', '{"a": "\u0001\u0002\u0003\n"}'],
    ['not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x20, 0x22, 0xfe, 0x80, 0x22, 0x7d])],
    [
      'big integers',
      '{"a": 9007199254740993, "b": 999999999999999, "c": 1000000000000000, "d": -9223372036854775808}',
    ],
    ['exponents', '{"a": 1E400, "b": 1e-3, "c": 1.5E+10, "d": -0e0}'],
    ['zeros', '{"a": 0, "b": -0, "c": 0.0, "d": -0.0, "e": 0.00, "f": -0.5, "g": 0.000000000000001}'],
    ['scales', '{"a": [1, 1.0, 1.00, 1.50, 1.5, 100, 0.001, -2.25], "b": [1.1, 2.22, 3.333]}'],
    ['long decimals', `{"a": 0.${'1'.repeat(40)}, "b": 123456789.123456789, "c": 3.14159265358979}`],
    ['not numbers', '{"a": 01, "b": 1., "c": .5, "d": +1, "e": --1, "f": -}'],
    ['not JSON', '{"a": tru, "b": nul}'],
    ['cut off', '{"a": {"b": [1, 2'],
    ['too long', '{"a": 1}}'],
    ['a key without value', '{"a": }'],
    ['one path, all kinds', '{"a": [1, "1", 1.5, true, false, null, [], {}, 1e9, {"a": []}]}'],
  ])('%s', (_name, document) => {
    expectSame(among([document, document]));
  });

  it('takes compact columns as well, and those with the version byte of the binary transfer', () => {
    expectSame(among(['{"user":7}', '{"user": 7}'], ':', ','));
    expectSame(among(['{"user":7}'], ': ', ','));
    expectSame(among([]).map((d) => Buffer.concat([Buffer.from([1]), Buffer.from(d as string)])));
    const mixed = among([]).map((d, i) =>
      i === 9 ? d : Buffer.concat([Buffer.from([1]), Buffer.from(d as string)]),
    );
    expectSame(mixed);
  });

  it('splits documents with escapes too', () => {
    const values = slicesOf(Array.from({ length: 60 }, (_, i) => `{"say": "\\"hi\\" \\\\", "n": ${i}}`));
    expect(roundTrip(codec, values, new Plan())).toEqual(textsOf(values));
  });

  it('carries documents nested deeper than its caps as text', () => {
    for (const depth of [60, 64, 65, 66, 1500, 10_000]) {
      expectSame(
        among([
          `${'[1, '.repeat(depth)}2${']'.repeat(depth)}`,
          `${'{"a": '.repeat(depth)}2${'}'.repeat(depth)}`,
        ]),
      );
    }
  });

  it('carries objects used as maps, and more shapes and paths than its caps, as text', () => {
    const maps = Array.from({ length: 300 }, (_, i) => `{"id-${i}-${i * 7919}": {"n": ${i}}}`);
    const plan = new Plan();
    for (let round = 0; round < 6; round++) {
      const values = slicesOf(among(maps.map((t) => t.replace('id', `r${round}`))));
      const back = roundTrip(codec, values, plan);
      if (back !== null) expect(back).toEqual(textsOf(values));
    }
    const wide = `{${Array.from({ length: 5000 }, (_, i) => `"k${i}": ${i}`).join(', ')}}`;
    expectSame(among([wide, '{"user": 3}', wide]));
  });

  it.each([0, 1, 2, 3, 4, 7, 8, 9, 63, 64, 65, 1023, 1024, 1025])('%i rows', (rows) => {
    const values = slicesOf(Array.from({ length: rows }, (_, i) => `{"id": ${i}, "tags": ["a", "b"]}`));
    const back = roundTrip(codec, values, new Plan());
    if (rows >= 63) expect(back).not.toBeNull();
    if (back !== null) expect(back).toEqual(textsOf(values));
  });

  it('a plan made on some documents serves any others', () => {
    const plan = new Plan();
    const first = among([]);
    const other = Array.from({ length: 50 }, (_, i) => `{"other": [${i}.50, "${i}"], "user": "${i}"}`);
    expectSame(first, plan);
    expectSame(other, plan);
    expectSame([...first, ...other, '[]', 'nonsense', ''], plan);
    expectSame(first, plan);
  });

  it('equal rows give equal bytes, whatever was encoded before', () => {
    const rows = among([]);
    const fresh = new Plan();
    const used = new Plan();
    roundTrip(codec, slicesOf(rows), fresh);
    roundTrip(codec, slicesOf([...rows.map((r) => `{"x": [1], ${String(r).slice(1)}`), ...rows]), used);
    const encode = (plan: Plan) => {
      const sink = newSink();
      codec.encode(slicesOf(rows), sink, plan);
      return streamsOf(sink);
    };
    expect(encode(used)).toEqual(encode(fresh));
  });

  it('leaves alone what is no JSON, or does not pay, and the sink with it', () => {
    const sink = newSink();
    const words = slicesOf(Array.from({ length: 100 }, (_, i) => `word ${i}`));
    expect(codec.encode(words, sink, new Plan())).toBe(false);
    const random = ['{"zqx": "8fa1"}', '["lmw", 4.25]', '{"0b": {"rr": 1}}', '{"k": []}', '[[7]]'];
    expect(codec.encode(slicesOf(random), sink, new Plan())).toBe(false);
    expect(streamsOf(sink)).toEqual(streamsOf(newSink()));
  });
});
