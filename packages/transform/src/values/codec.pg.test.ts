/** Values, masks and conversions against PostgreSQL itself, in both forms of the cells. */
import type { Relation } from '@drover/block';
import { testPostgres } from '@drover/testkit';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { apply } from '../plan/change.ts';
import { compileTransform } from '../plan/compile.ts';
import { cellsOf, liveRelation, liveRows } from '../rows.testing.ts';
import { ruleOf } from '../rules.testing.ts';
import { type Form, readValue, writeValue } from './codec.ts';
import { typeOf } from './types.ts';

const FORMS: readonly Form[] = ['text', 'binary'];
let client: pg.Client;
let relation: Relation;
const rows: Record<Form, Buffer[]> = { text: [], binary: [] };

beforeAll(async () => {
  const server = await testPostgres();
  client = await server.connect(await server.createDatabase('codec'));
  await client.query(`
    CREATE TABLE public.vals (id int4 PRIMARY KEY, i2 int2, i8 int8, n numeric, n52 numeric(5,2), f4 float4, f8 float8,
      v varchar(40), c char(8), b bool, d date, ts timestamp, tz timestamptz, u uuid, raw bytea);
    SELECT setseed(0.25);
    INSERT INTO public.vals SELECT i, (random() * 65535 - 32768)::int2, (random() * 2e18 - 1e18)::int8,
      round(((random() - 0.5) * 10 ^ (random() * 40 - 10))::numeric, (random() * 20)::int), round((random() * 1999.9 - 999.99)::numeric % 999, 2),
      (random() - 0.5) * 10 ^ (random() * 60 - 30)::int, (random() - 0.5) * 10 ^ (random() * 500 - 250)::int,
      left(md5(i::text) || ' äß€😀', (random() * 38)::int), left(md5(i::text), (random() * 8)::int), random() < 0.5,
      date '2000-01-01' + (random() * 4000000 - 2400000)::int, timestamp '2000-01-01' + (random() * 8000 - 4000) * interval '1 year' + random() * interval '1 day',
      timestamptz '2000-01-01 00:00+00' + (random() * 8000 - 4000) * interval '1 year' + random() * interval '1 hour', gen_random_uuid(), decode(md5(i::text), 'hex')
      FROM generate_series(1, 400) i;
    INSERT INTO public.vals (id, i2, i8, n, n52, f4, f8, d, ts, tz) VALUES
      (1001, -32768, -9223372036854775808, 'NaN', 999.99, 'NaN', 'Infinity', 'infinity', '-infinity', 'infinity'),
      (1002, 32767, 9223372036854775807, 'Infinity', -999.99, '-Infinity', '-0', '4713-11-24 BC', '4713-11-24 00:00:00 BC', '0001-01-01 00:00+00 BC'),
      (1003, 0, 0, 0, 0, 0, 0, '0001-01-01', '0001-12-31 BC', '2024-02-29 23:59:59.999999+00'),
      (1004, 15, -25, 0.00, -0.05, 0.1, 2.5, '1900-02-28', '1999-12-31 23:59:59.999999', '1999-12-31 23:59:59.5+00'),
      (1005, 25, 1500, 100000000, 12.5, 16777217, 0.045, '2000-02-29', '2000-02-29 12:00', '2000-03-01 00:00+00'),
      (1006, NULL, NULL, 1e-130, NULL, NULL, NULL, NULL, NULL, NULL), (1007, 1, 1, 9.9e200, 1, 1.5, 1, '5874897-12-31', '294276-12-31 23:59:59.999999', NULL)`);
  relation = await liveRelation(client, 'vals');
  for (const form of FORMS) rows[form] = await liveRows(client, relation, form);
});
afterAll(() => client?.end());

const column = (name: string) => relation.columns.findIndex((c) => c.name === name);

describe('values', () => {
  it('read from either form are the same, and are written as they came', () => {
    for (const [row, text] of rows.text.entries()) {
      const binary = cellsOf(rows.binary[row]!);
      for (const [i, cell] of cellsOf(text).entries()) {
        const { name, typeOid } = relation.columns[i]!;
        const type = typeOf(typeOid)!;
        if (typeof cell !== 'string') {
          expect(binary[i]).toBe(cell);
          continue;
        }
        const bytes = binary[i] as Buffer;
        const value = readValue(type, 'binary', bytes, 0, bytes.length);
        expect([name, readValue(type, 'text', Buffer.from(cell), 0, Buffer.byteLength(cell))]).toEqual([
          name,
          value,
        ]);
        expect([name, writeValue(type, 'binary', value)]).toEqual([name, bytes]);
        const again = writeValue(type, 'text', value).toString();
        // JavaScript and PostgreSQL choose other shortest texts of a float; the value is the same.
        const fit = type.size === 4 ? Math.fround : Number;
        if (type.family === 'float') expect(fit(Number(again))).toBe(fit(Number(cell)));
        else expect([name, again]).toEqual([name, cell]);
      }
    }
  });
});

/** What the action makes of a column in `form`, as PostgreSQL reads it (a binary cell through the type's receive function). */
async function masked(form: Form, name: string, action: object, sql: string): Promise<(string | null)[]> {
  const plan = compileTransform([ruleOf({ tables: ['public.vals'], actions: [action] })], relation, {
    secret: 's',
  })!;
  const at = column(name);
  const cells = rows[form].map((row) => cellsOf(apply(plan, row, 0, row.length))[at] ?? null);
  const out: (string | null)[] = [];
  for (const cell of cells) {
    const { rows: found } = await client.query<{ v: string | null }>(`SELECT $1::${sql}::text AS v`, [cell]);
    out.push(found[0]!.v);
  }
  return out;
}

async function asked(expression: string): Promise<(string | null)[]> {
  const { rows: found } = await client.query<{ v: string | null }>(
    `SELECT (${expression})::text AS v FROM public.vals ORDER BY id`,
  );
  return found.map(({ v }) => v);
}

describe.each(FORMS)('in %s form', (form) => {
  it.each([
    ['i2', 'int4', 'int4'],
    ['i2', 'int8', 'int8'],
    ['i2', 'numeric', 'numeric'],
    ['i2', 'float4', 'float4'],
    ['i2', 'float8', 'float8'],
    ['i2', 'text', 'text'],
    ['id', 'int8', 'int8'],
    ['id', 'numeric', 'numeric'],
    ['id', 'float8', 'float8'],
    ['i8', 'numeric', 'numeric'],
    ['i8', 'text', 'text'],
    ['f4', 'float8', 'float8'],
    ['v', 'text', 'text'],
    ['u', 'text', 'text'],
  ])('%s becomes %s as PostgreSQL casts it', async (name, to, sql) => {
    expect(await masked(form, name, { convert: name, to }, sql)).toEqual(await asked(`${name}::${to}`));
  });

  it.each([
    ['n', 3],
    ['n', 0],
    ['n', -4],
    ['i8', -3],
    ['i2', -1],
  ])('%s is rounded to %i places as PostgreSQL rounds', async (name, digits) => {
    const sql =
      name === 'n'
        ? `CASE WHEN scale(n) <= ${digits} THEN n ELSE round(n, ${digits}) END`
        : `round(${name}, ${digits})`;
    const bound = { n: '', i8: '9223372036854775000', i2: '32760' }[name as 'n' | 'i8' | 'i2'];
    const fits =
      bound === '' ? sql : `CASE WHEN abs(${sql}) > ${bound} THEN trunc(${name}, ${digits}) ELSE ${sql} END`;
    const type = name === 'n' ? 'numeric' : name === 'i8' ? 'int8' : 'int2';
    expect(await masked(form, name, { mask: name, with: 'round', digits }, type)).toEqual(
      await asked(`(${fits})::${type}`),
    );
  });

  it('a rounded numeric(5,2) still fits', async () => {
    const found = await masked(form, 'n52', { mask: 'n52', with: 'round', digits: -1 }, 'numeric');
    expect(found.every((v) => v === null || Math.abs(Number(v)) < 1000)).toBe(true);
  });

  it.each([
    [
      'f4',
      2,
      "CASE WHEN f4 IN ('NaN', 'Infinity', '-Infinity') THEN f4 ELSE round(f4::numeric, 2)::float4 END",
      'float4',
    ],
    [
      'f8',
      -2,
      "CASE WHEN f8 IN ('NaN', 'Infinity', '-Infinity') THEN f8 ELSE round(f8::numeric, -2)::float8 END",
      'float8',
    ],
  ])('%s is rounded to %i places as its numeric is', async (name, digits, sql, type) => {
    const found = await masked(form, name, { mask: name, with: 'round', digits }, type);
    expect(found.map(plain)).toEqual((await asked(sql)).map(plain));
  });

  it.each([
    ['d', 'month'],
    ['d', 'year'],
    ['ts', 'month'],
    ['ts', 'year'],
    ['tz', 'year'],
  ])('%s is cut to its %s as date_trunc cuts', async (name, to) => {
    const type = { d: 'date', ts: 'timestamp', tz: 'timestamptz' }[name as 'd' | 'ts' | 'tz'];
    // date_trunc of the very first days lies before the calendar.
    const sql =
      name === 'tz'
        ? `date_trunc('${to}', tz, 'UTC')`
        : `CASE WHEN ${name} < '4711-01-01 BC' THEN NULL ELSE date_trunc('${to}', ${name}::timestamp) END`;
    const ours = await masked(form, name, { mask: name, with: 'truncate', to }, type);
    const theirs = await asked(
      name === 'd'
        ? `CASE WHEN d < '4711-01-01 BC' OR d > '290000-01-01' AND d < 'infinity' THEN NULL WHEN d IN ('infinity', '-infinity') THEN d ELSE date_trunc('${to}', d)::date END`
        : sql,
    );
    expect(ours.filter((_, i) => theirs[i] !== null)).toEqual(theirs.filter((v) => v !== null));
    expect(theirs.filter((v) => v !== null).length).toBeGreaterThan(300);
  });

  it.each(['v', 'c', 'id', 'i2', 'i8', 'u'])(
    'format-keeping of %s is a value of its type, never twice the same',
    async (name) => {
      const type = { v: 'varchar(40)', c: 'char(8)', id: 'int4', i2: 'int2', i8: 'int8', u: 'uuid' }[name]!;
      const ours = await masked(form, name, { mask: name, with: 'format-keeping' }, type);
      const before = await asked(`${name}::${type}`);
      expect(new Set(ours).size).toBe(new Set(before).size);
      expect(ours.map((v) => v?.length)).toEqual(before.map((v) => v?.length));
    },
  );
});

const plain = (v: string | null) => (v === null ? null : Number(v));

it('both forms give the same pseudonyms', async () => {
  const plan = compileTransform(
    [
      ruleOf({
        tables: ['public.vals'],
        actions: [
          { mask: 'u', with: 'hash' },
          { mask: 'raw', with: 'hash' },
          { mask: 'v', with: 'hash' },
          { mask: 'i8', with: 'format-keeping' },
        ],
      }),
    ],
    relation,
    { secret: 's' },
  )!;
  for (const [i, text] of rows.text.entries()) {
    const [a, b] = [text, rows.binary[i]!].map((row) => cellsOf(apply(plan, row, 0, row.length)));
    for (const name of ['u', 'raw', 'v', 'i8']) {
      const type = typeOf(relation.columns[column(name)]!.typeOid)!;
      const [left, right] = [a![column(name)], b![column(name)]];
      if (typeof left !== 'string') expect(right).toBe(left);
      else
        expect(
          writeValue(type, 'text', readValue(type, 'binary', right as Buffer, 0, right!.length)).toString(),
        ).toBe(left);
    }
  }
});
