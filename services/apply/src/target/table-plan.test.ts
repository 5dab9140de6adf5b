import type { Relation } from '@drover/block';
import { describe, expect, it } from 'vitest';
import { planTable } from './table-plan.ts';
import type { TargetColumn, TargetTable } from './target-table.ts';

const column = (name: string, more: Partial<TargetColumn> = {}): TargetColumn => ({
  attnum: 1,
  name,
  typeOid: 23,
  stageType: 'integer',
  castType: 'integer',
  textOnly: false,
  generated: false,
  identityAlways: false,
  hasEquality: true,
  equals: 'pg_catalog.=',
  exact: true,
  ...more,
});
const target = (columns: TargetColumn[], primaryKey: string[] | null): TargetTable => ({
  oid: 1,
  schema: 'public',
  name: 't',
  partitioned: false,
  columns,
  primaryKey,
  otherUnique: false,
});
const relation = (identity: Relation['identity'], columns: [string, boolean, number?][]): Relation => ({
  oid: 1,
  schema: 'public',
  name: 't',
  identity,
  columns: columns.map(([name, key, typeOid = 23]) => ({ name, key, typeOid, typmod: -1 })),
});

describe('the plan of a table', () => {
  it('matches columns by name whatever their order, and leaves out what the target computes', () => {
    const to = target([column('g', { generated: true }), column('extra'), column('b'), column('a')], ['a']);
    const plan = planTable(
      1,
      relation('d', [
        ['a', true],
        ['g', false],
        ['b', false],
      ]),
      to,
    );
    expect(plan.columns.map((c) => [c.name, c.source])).toEqual([
      ['a', 0],
      ['b', 2],
    ]);
    expect([...plan.map]).toEqual([0, -1, 1]);
    expect(plan.keySource).toEqual([0]);
  });

  it('takes the primary key of the target under FULL, and none when there is none', () => {
    const full = relation('f', [
      ['a', true],
      ['b', true],
    ]);
    expect(planTable(1, full, target([column('a'), column('b')], ['b'])).keySource).toEqual([1]);
    expect(planTable(1, full, target([column('a'), column('b')], null)).key).toBe(null);
  });

  it('names the table or the column that is missing, and a type that differs', () => {
    expect(() => planTable(1, relation('d', [['a', true]]), null)).toThrow(/no table public.t/);
    const to = target([column('a')], ['a']);
    expect(() =>
      planTable(
        1,
        relation('d', [
          ['a', true],
          ['b', false],
        ]),
        to,
      ),
    ).toThrow(/no column "b"/);
    expect(() => planTable(1, relation('d', [['a', true, 20]]), to)).toThrow(
      /"a" of public.t has another type/,
    );
  });

  it('says that rows must be replaced where an identity column outside the key can change', () => {
    const columns = [column('a', { identityAlways: true }), column('b')];
    const from = relation('f', [
      ['a', true],
      ['b', true],
    ]);
    const replaces = (key: string[] | null) => planTable(1, from, target(columns, key)).replaces;
    expect([replaces(['a']), replaces(['b']), replaces(null)]).toEqual([false, true, true]);
  });

  it('lets types of users differ in number, as their OIDs do between servers', () => {
    const to = target([column('a', { typeOid: 99_999 })], ['a']);
    expect(planTable(1, relation('d', [['a', true, 77_777]]), to).columns).toHaveLength(1);
  });

  it('knows where rows of two keys are never in each other’s way', () => {
    const key = relation('d', [
      ['a', true],
      ['b', false],
    ]);
    const is = (more: Partial<TargetTable>, a: Partial<TargetColumn> = {}): boolean =>
      planTable(1, key, { ...target([column('a', a), column('b')], ['a']), ...more }).onlyKeyUnique;
    expect(is({})).toBe(true);
    expect(is({ otherUnique: true })).toBe(false);
    expect(is({ partitioned: true })).toBe(false);
    expect(is({}, { exact: false })).toBe(false);
    // Found by an index of the source's replica identity that is not the primary key here.
    expect(is({ primaryKey: ['b'] })).toBe(false);
    expect(is({ primaryKey: ['a', 'b'] })).toBe(false);
    expect(is({ primaryKey: null })).toBe(false);
  });
});
