/** What a plan leaves alone stays byte for byte, in every kind of image; what a filter decides follows from old and new row. */
import type { Relation } from '@drover/block';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cellsOf, tuple } from '../rows.testing.ts';
import { rulesOfTest } from '../rules.testing.ts';
import { apply, Changer } from './change.ts';
import { compileTransform } from './compile.ts';

const NAMES = ['id', 'name', 'n', 'odd', 'secret'];
const OIDS = [20, 25, 23, 3802, 25];

function relation(identity: Relation['identity']): Relation {
  return {
    oid: 1,
    schema: 'public',
    name: 't',
    identity,
    columns: NAMES.map((name, i) => ({
      name,
      typeOid: OIDS[i]!,
      typmod: -1,
      key: identity === 'f' || i === 0 || i === 2,
    })),
  };
}

function int(value: number | null, size: 4 | 8): Buffer | null {
  if (value === null) return null;
  const out = Buffer.alloc(size);
  out.writeIntBE(value, size === 8 ? 2 : 0, size === 8 ? 6 : 4);
  if (size === 8 && value < 0) out.fill(0xff, 0, 2);
  return out;
}

const bytes = fc.option(
  fc.uint8Array({ maxLength: 30 }).map((b) => Buffer.from(b)),
  { freq: 5 },
);
const word = fc.option(
  fc.string().map((t) => Buffer.from(t.replaceAll('\0', ''))),
  { freq: 5 },
);
const n = fc.option(fc.integer({ min: -3, max: 3 }), { freq: 4 });
const row = fc.tuple(fc.nat(1e6), word, n, bytes, word);
type Row = [number, Buffer | null, number | null, Buffer | null, Buffer | null];
const cells = ([id, name, value, odd, secret]: Row) => [int(id, 8), name, int(value, 4), odd, secret];

const MASKS = rulesOfTest({
  tables: ['public.t'],
  actions: [{ mask: 'secret', with: 'hash' }, { rename: 'secret', to: 'pseudonym' }, { drop: 'n' }],
  where: 'n > 0 OR id = 7',
});

test('columns without an action pass byte for byte; dropped ones are gone; NULL and unchanged stay what they are', () => {
  const plan = compileTransform(
    [{ ...MASKS[0]!, where: undefined, actions: [...MASKS[0]!.actions] }],
    relation('f'),
    { secret: 's' },
  )!;
  expect(plan.relation.columns.map((c) => c.name)).toEqual(['id', 'name', 'odd', 'pseudonym']);
  fc.assert(
    fc.property(row, fc.array(fc.nat(4), { maxLength: 3 }), fc.nat(9), (values, unchanged, before) => {
      const given = cells(values).map((c, i) => (unchanged.includes(i) ? undefined : c));
      const raw = tuple(given);
      const framed = Buffer.concat([Buffer.alloc(before, 7), raw, Buffer.from('behind')]);
      const out = cellsOf(apply(plan, framed, before, before + raw.length));
      expect(out.slice(0, 3)).toEqual([given[0], given[1], given[3]]);
      const secret = given[4];
      if (!Buffer.isBuffer(secret)) expect(out[3]).toBe(secret);
      else expect(String(out[3])).toMatch(/^[0-9a-f]{32}$/);
      expect(cellsOf(apply(plan, framed, before, before + raw.length))).toEqual(out);
    }),
  );
});

/** Whether the row passes `n > 0 OR id = 7`. */
const passes = ([id, , value]: Row) => (value !== null && value > 0) || id === 7;

test.each(['f', 'd'] as const)('updates become what the filter makes of them (identity %s)', (identity) => {
  const plan = compileTransform([{ ...MASKS[0]!, actions: [] }], relation(identity), { secret: 's' })!;
  const changer = new Changer();
  const seen = new Set<string>();
  fc.assert(
    fc.property(
      row,
      row,
      fc.boolean(),
      fc.array(fc.constantFrom(1, 3, 4), { maxLength: 2 }),
      (old, next, same, left) => {
        const after: Row = same ? [old[0], next[1], old[2], next[3], next[4]] : next;
        const whole = cells(after);
        for (const i of left) whole[i] = cells(old)[i]!;
        const sent = whole.map((c, i) => (left.includes(i as 1) ? undefined : c));
        const kind = identity === 'f' ? 'O' : same ? null : 'K';
        const oldCells =
          kind === 'K' ? cells(old).map((c, i) => (i === 0 || i === 2 ? c : null)) : cells(old);
        const a = kind === null ? Buffer.alloc(0) : tuple(oldCells);
        const raw = Buffer.concat([a, tuple(sent)]);
        const change = changer.update(plan, kind, raw, 0, a.length, a.length, raw.length);
        const [before, now] = [passes(old), passes(after)];
        const expected = before ? (now ? 'update' : 'delete') : now ? 'insert' : 'none';
        expect(change.kind).toBe(expected);
        seen.add(expected);
        const got = (from: number, to: number) => cellsOf(Buffer.from(change.bytes.subarray(from, to)));
        if (before && kind !== null) expect(got(change.oldStart, change.oldEnd)).toEqual(oldCells);
        if (expected === 'update') expect(got(change.newStart, change.newEnd)).toEqual(sent);
        // Who enters is inserted whole, where the source sent the whole old row.
        if (expected === 'insert')
          expect(got(change.newStart, change.newEnd)).toEqual(kind === 'O' ? whole : sent);
      },
    ),
    { numRuns: 1000 },
  );
  expect(seen).toEqual(new Set(['insert', 'update', 'delete', 'none']));
});

test('an old image that holds the key alone is not filled with constants', () => {
  const rules = rulesOfTest({
    tables: ['public.t'],
    actions: [
      { mask: 'name', with: 'constant', value: 'x' },
      { mask: 'id', with: 'format-keeping' },
    ],
  });
  const plan = compileTransform(rules, relation('d'), { secret: 's' })!;
  const raw = tuple([int(4711, 8), null, int(1, 4), null, null]);
  const change = new Changer().delete(plan, 'K', raw, 0, raw.length);
  const [id, ...rest] = cellsOf(Buffer.from(change.bytes.subarray(change.oldStart, change.oldEnd)));
  expect(id).not.toEqual(int(4711, 8));
  expect(rest).toEqual([null, int(1, 4), null, null]);
  // The row itself is found by the same key.
  const inserted = apply(plan, raw, 0, raw.length);
  expect(cellsOf(inserted)[0]).toEqual(id);
  expect(String(cellsOf(inserted)[1])).toBe('x');
});
