/** The same expressions on the same rows, judged here and by PostgreSQL: true, false or unknown, in both forms of the cells. */

import type { Relation } from '@drover/block';
import { testPostgres } from '@drover/testkit';
import fc from 'fast-check';
import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cells } from '../plan/cells.ts';
import { cellsOf, liveRelation, liveRows } from '../rows.testing.ts';
import { typeOf } from '../values/types.ts';
import { compileFilter, type Test } from './compile.ts';
import { parseExpression } from './parse.ts';

const TABLE = `CREATE TABLE public.facts (id int4, small int2, big int8, exact numeric, single float4, "Double" float8,
  name text, code varchar(12), fixed char(6), ok bool, born date, at timestamp, "when" timestamptz, uid uuid, doc jsonb)`;

const POOLS: Record<string, readonly string[]> = {
  small: ['0', '-1', '7', '32767', '1.5', '-32768', '1e1'],
  id: ['1', '2', '40', '2147483647', '99999999999'],
  big: [
    '9007199254740993',
    '-9223372036854775808',
    '9223372036854775807',
    '3',
    '9007199254740992.5',
    '12345678901234567890',
  ],
  exact: ['0', '1.10', '-0.001', '1e20', '100000000000000000000.5', '.5', '12345.6789', '1e-3'],
  single: ['0.1', '1.5', '-0', '3.4e38', '16777217'],
  '"Double"': ['0.1', '1e300', '-1.5', '0.30000000000000004', '9007199254740993'],
  name: ["'abc'", "''", "'a b'", "'ABC'", "'ä%_'", "'it''s'", "'\\'", "'abc '"],
  code: ["'abc'", "'x-1'", "''", "'abc  '"],
  fixed: ["'ab'", "'ab    '", "''", "'abcdef'"],
  born: [
    "DATE '2024-02-29'",
    "'1999-12-31'",
    "'infinity'",
    "DATE '-infinity'",
    "'0001-01-01'",
    "'0044-03-15 BC'",
  ],
  at: [
    "TIMESTAMP '2024-02-29 12:34:56.789'",
    "'1999-12-31 23:59:59.999999'",
    "DATE '2024-02-29'",
    "'infinity'",
    "'2024-02-29'",
  ],
  '"when"': [
    "TIMESTAMPTZ '2024-02-29 12:34:56+00'",
    "'2024-02-29 14:34:56+02'",
    "'-infinity'",
    "'2024-02-29T18:04:56+05:30'",
  ],
  uid: [
    "UUID '00000000-0000-0000-0000-000000000000'",
    "'5b3c0000-1111-4222-8333-444455556666'",
    "'FFFFFFFF-ffff-ffff-ffff-ffffffffffff'",
  ],
  ok: ['TRUE', 'false'],
};
const ORDERED = Object.keys(POOLS).filter((c) => !['name', 'code', 'fixed'].includes(c));
const PATTERNS = [
  "'abc%'",
  "'%c'",
  "'%b%'",
  "'abc'",
  "'%'",
  "''",
  "'a\\%%'",
  "'ab    '",
  "'%\\\\'",
  "'%ä\\%\\_%'",
];
const PAIRS = [
  ['id', 'small'],
  ['big', 'id'],
  ['exact', 'big'],
  ['single', '"Double"'],
  ['name', 'code'],
  ['id', 'single'],
  ['"Double"', 'big'],
  ['born', 'born'],
  ['uid', 'uid'],
  ['ok', 'ok'],
] as const;
const EQUAL = ['=', '<>', '!='];
const ORDER = ['<', '<=', '>', '>=', ...EQUAL];

const leaf: fc.Arbitrary<string> = fc.oneof(
  fc
    .constantFrom(...ORDERED)
    .chain((c) =>
      fc
        .tuple(fc.constantFrom(...ORDER), fc.constantFrom(...POOLS[c]!), fc.boolean())
        .map(([op, v, turn]) => (turn ? `${v} ${op} ${c}` : `${c} ${op} ${v}`)),
    ),
  fc
    .constantFrom('name', 'code', 'fixed')
    .chain((c) =>
      fc.tuple(fc.constantFrom(...EQUAL), fc.constantFrom(...POOLS[c]!)).map(([op, v]) => `${c}${op}${v}`),
    ),
  fc
    .constantFrom(...PAIRS)
    .chain(([a, b]) => fc.constantFrom(...(a === 'name' ? EQUAL : ORDER)).map((op) => `${a} ${op} ${b}`)),
  fc
    .constantFrom(...Object.keys(POOLS))
    .chain((c) =>
      fc
        .tuple(
          fc.boolean(),
          fc.array(fc.constantFrom(...POOLS[c]!), { minLength: 1, maxLength: c === 'single' ? 1 : 4 }),
        )
        .map(([not, list]) => `${c} ${not ? 'NOT ' : ''}IN (${list.join(', ')})`),
    ),
  fc
    .tuple(fc.constantFrom('name', 'code', 'fixed'), fc.boolean(), fc.constantFrom(...PATTERNS))
    .map(([c, not, p]) => `${c} ${not ? 'NOT ' : ''}LIKE ${p}`),
  fc
    .tuple(fc.constantFrom(...Object.keys(POOLS), 'doc'), fc.boolean())
    .map(([c, not]) => `${c} IS ${not ? 'NOT ' : ''}NULL`),
  fc.constantFrom(
    'ok',
    'TRUE',
    'false',
    'ok IS TRUE',
    'ok IS NOT FALSE',
    'ok IS UNKNOWN',
    'ok IS NULL IS FALSE',
  ),
);
const expression = fc.letrec<{ e: string }>((tie) => ({
  e: fc.oneof(
    { maxDepth: 4, depthSize: 'medium' },
    leaf,
    fc
      .tuple(tie('e'), fc.constantFrom('AND', 'or', 'OR', 'and'), tie('e'))
      .map(([a, op, b]) => `${a} ${op} ${b}`),
    tie('e').map((a) => `NOT (${a})`),
    tie('e').map((a) => `NOT ${a}`),
    fc
      .tuple(
        tie('e'),
        fc.constantFrom(
          'NULL',
          'NOT NULL',
          'TRUE',
          'NOT TRUE',
          'FALSE',
          'NOT FALSE',
          'UNKNOWN',
          'NOT UNKNOWN',
        ),
      )
      .map(([a, is]) => `(${a}) IS ${is}`),
  ),
})).e;

let client: pg.Client;
let relation: Relation;
let tuples: { text: Buffer[]; binary: Buffer[] };

beforeAll(async () => {
  const server = await testPostgres();
  client = await server.connect(await server.createDatabase('filter'));
  await client.query(TABLE);
  const own: Record<string, readonly string[]> = {
    exact: [...POOLS['exact']!, "'NaN'", "'Infinity'", "'-Infinity'", "'1.1000'"],
    single: [...POOLS['single']!.map((v) => `'${v}'`), "'NaN'", "'Infinity'"],
    '"Double"': [...POOLS['"Double"']!.map((v) => `'${v}'`), "'NaN'", "'-Infinity'", "'-0'"],
    name: [...POOLS['name']!, "'xabcx'", "'Abcd'", "'a%c'"],
    big: POOLS['big']!.filter((v) => !/\.|1234/.test(v)),
    small: ['0', '-1', '7', '32767', '-32768', '10', '2'],
    doc: [`'{"a": 1}'`],
  };
  const columns = [...Object.keys(POOLS).filter((c) => c !== 'id'), 'doc'];
  const rows = fc.sample(
    fc.tuple(...columns.map((c) => fc.option(fc.constantFrom(...(own[c] ?? POOLS[c]!)), { freq: 4 }))),
    { numRuns: 120, seed: 5 },
  );
  for (const [i, row] of rows.entries())
    await client.query(
      `INSERT INTO public.facts (id, ${columns.join(', ')}) VALUES (${i}, ${row.map((v) => v ?? 'NULL').join(', ')})`,
    );
  relation = await liveRelation(client, 'facts');
  tuples = {
    text: await liveRows(client, relation, 'text'),
    binary: await liveRows(client, relation, 'binary'),
  };
});
afterAll(() => client?.end());

function compiled(source: string): Test {
  const parsed = parseExpression(source);
  if (!parsed.ok) throw new Error(`${source}: ${parsed.fault.wrong}`);
  const columns = relation.columns.map((c) => ({ name: c.name, type: typeOf(c.typeOid), typeName: '' }));
  return compileFilter(parsed.expr, columns).test;
}

test('every expression has the truth that PostgreSQL finds, row by row', async () => {
  const seen = new Set<number | null>();
  await fc.assert(
    fc.asyncProperty(fc.array(expression, { minLength: 25, maxLength: 25 }), async (expressions) => {
      const { rows } = await client.query<(number | null)[]>({
        text: `SELECT ${expressions.map((e) => `(${e})::int`).join(', ')} FROM public.facts ORDER BY id`,
        rowMode: 'array',
      } as pg.QueryArrayConfig);
      const cells = new Cells(relation.columns.length);
      for (const [i, source] of expressions.entries()) {
        const filter = compiled(source);
        const theirs = rows.map((row) => row[i] ?? null);
        for (const form of ['text', 'binary'] as const) {
          const wrong = tuples[form].flatMap((bytes, id) => {
            const ours = [0, 1, null][filter(bytes, cells.locate(bytes, 0, bytes.length))];
            return ours === theirs[id]
              ? []
              : [{ ours, theirs: theirs[id], row: cellsOf(tuples.text[id]!).join(' | ') }];
          });
          expect({ source, form, wrong: wrong.slice(0, 1) }).toEqual({ source, form, wrong: [] });
        }
        for (const truth of theirs) seen.add(truth);
      }
    }),
    { numRuns: 40 },
  );
  expect(seen).toEqual(new Set([0, 1, null]));
});
