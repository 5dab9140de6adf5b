/** Values of PostgreSQL's types as pgoutput sends them, for tests: ordinary ones and those at the edges. */
import {
  among,
  below,
  type Draw,
  FLOAT4S,
  FLOAT8S,
  hex,
  numerics,
  pickOne,
  type Random,
  wholes,
} from './test-numbers.ts';
import { Oid } from './types.ts';

export interface TestType {
  readonly name: string;
  readonly oid: number;
  /** Ways in which such a column's values follow each other. */
  readonly binary: readonly ((random: Random) => Draw)[];
  readonly text: readonly ((random: Random) => Draw)[];
}

const bytesOf = (random: Random, length: number): Buffer =>
  Buffer.from(Array.from({ length }, () => below(random, 256)));

export function uuids(): ((random: Random) => Draw)[] {
  const make = (random: Random, version: number, variant: number): Buffer => {
    const out = bytesOf(random, 16);
    out[6] = ((out[6] as number) & 15) | (version << 4);
    out[8] = ((out[8] as number) & 63) | variant;
    return out;
  };
  return [
    (random) => () => make(random, 4, 0x80),
    (random) => (row) => {
      const out = make(random, 7, 0x80);
      out.writeUIntBE(1.7e12 + (row % 7) * 3, 0, 6);
      return out;
    },
    (random) => () => make(random, pickOne(random, [1, 4, 7, 15]), pickOne(random, [0, 0x80, 0xc0])),
    among([Buffer.alloc(16), Buffer.alloc(16, 255)]),
  ];
}

const utf8 = (value: string): Buffer => Buffer.from(value);
const SHORT = [
  '',
  ' ',
  'a',
  'NULL',
  'null',
  '0',
  '00',
  '-1',
  'paid',
  'shipped',
  'ä',
  'ä',
  '😀',
  '\ufeff',
  '١٢',
].map(utf8);

export function texts(): ((random: Random) => Draw)[] {
  return [
    among(SHORT),
    (random) => (row) =>
      utf8(`ORD-2024-${String(row * 3).padStart(6, '0')}-${pickOne(random, ['EU', 'US'])}`),
    (random) => () =>
      utf8(`/users/${below(random, 1e6)}/files/${below(random, 40)}?page=${below(random, 9)}`),
    (random) => () => bytesOf(random, below(random, 12)),
    (random) => () => Buffer.alloc(below(random, 20) === 0 ? 70_000 : 30, below(random, 256)),
    (random) => () =>
      utf8(
        bytesOf(random, 16)
          .toString('hex')
          .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'),
      ),
    (random) => () =>
      utf8(
        `2024-0${1 + below(random, 9)}-1${below(random, 9)} 12:00:${10 + below(random, 40)}.${below(random, 9)}+00`,
      ),
    (random) => (row) => utf8(`${'9'.repeat(below(random, 18))}${row}`),
    () => () => utf8('same for all'),
    (random) => (row) => utf8(row === 500 ? 'the one outlier' : pickOne(random, ['x', 'y']).padEnd(25)),
  ];
}

function documents(prefix: Buffer): ((random: Random) => Draw)[] {
  const shaped = (random: Random): unknown => ({
    id: below(random, 1e6),
    tags: ['a', `b${below(random, 9)}`],
    ok: random() < 0.5,
  });
  const odd = [
    '{"a": 1, "a": 2}',
    '[]',
    'null',
    '{"": {"__proto__": 1.00}}',
    '{"x":1e400}',
    '"\\ud83d"',
    ' { } ',
    '{"a":',
    '\u0001',
    '',
  ];
  const put = (value: string): Buffer => Buffer.concat([prefix, utf8(value)]);
  return [
    (random) => () => put(JSON.stringify(shaped(random)).replaceAll(',', ', ').replaceAll(':', ': ')),
    (random) => () => put(random() < 0.2 ? pickOne(random, odd) : JSON.stringify(shaped(random))),
    among(odd.map(utf8)),
    () => () => put(`${'['.repeat(1200)}${']'.repeat(1200)}`),
  ];
}

const type = (
  name: string,
  oid: number,
  binary: TestType['binary'],
  text: TestType['text'] = texts(),
): TestType => ({
  name,
  oid,
  binary,
  text,
});

export const TYPES: readonly TestType[] = [
  type('bool', Oid.bool, wholes(1)),
  type('int2', Oid.int2, wholes(2)),
  type('int4', Oid.int4, wholes(4)),
  type('int8', Oid.int8, wholes(8)),
  type('oid', Oid.oid, wholes(4)),
  type('xid', Oid.xid, wholes(4)),
  type('date', Oid.date, wholes(4)),
  type('time', Oid.time, wholes(8)),
  type('timestamp', Oid.timestamp, wholes(8)),
  type('timestamptz', Oid.timestamptz, wholes(8)),
  type('money', Oid.money, wholes(8)),
  type('pg_lsn', Oid.pgLsn, wholes(8)),
  type('float4', Oid.float4, FLOAT4S),
  type('float8', Oid.float8, FLOAT8S),
  type('numeric', Oid.numeric, numerics()),
  type('uuid', Oid.uuid, uuids()),
  type('text', Oid.text, texts()),
  type('bpchar', Oid.bpchar, texts()),
  type('json', Oid.json, documents(Buffer.alloc(0)), documents(Buffer.alloc(0))),
  type('jsonb', Oid.jsonb, documents(Buffer.from([1])), documents(Buffer.alloc(0))),
  type('interval', 1186, [
    among([hex('7fffffffffffffff7fffffff7fffffff'), hex('00000000000000010000000100000002')]),
  ]),
  type('timetz', 1266, [among([hex('000000141dd760000000e0ff'), hex('000000141dd76000ffff1f01')])]),
  type('inet', Oid.inet, [
    among(['02200004c0a80001', '0280001000000000000000000000000000000001', '03080104' + '0a000000'].map(hex)),
  ]),
  type('int4[]', 1007, [
    among(
      ['000000000000000000000017', '00000001000000010000001700000003000000000000000400000001ffffffff'].map(
        hex,
      ),
    ),
  ]),
  type('varbit', 1562, [among(['00000000', '00000009ff80'].map(hex))]),
  type('enum', 70_001, texts()),
];
