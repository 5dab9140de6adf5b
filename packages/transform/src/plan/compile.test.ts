import type { Relation } from '@drover/block';
import { DroverError } from '@drover/core';
import { describe, expect, it } from 'vitest';
import { rulesOfTest } from '../rules.testing.ts';
import { type CompileContext, compileTransform } from './compile.ts';
import { Transforms } from './transforms.ts';

const USERS: Relation = {
  oid: 9,
  schema: 'public',
  name: 'users',
  identity: 'd',
  columns: [
    { name: 'tenant', typeOid: 25, typmod: -1, key: true },
    { name: 'id', typeOid: 23, typmod: -1, key: true },
    { name: 'email', typeOid: 1043, typmod: 24, key: false },
    { name: 'born', typeOid: 1082, typmod: -1, key: false },
    { name: 'doc', typeOid: 3802, typmod: -1, key: false },
  ],
};

function compile(raw: object, context: Partial<CompileContext> = {}, relation = USERS) {
  const rules = rulesOfTest({ tables: ['public.users'], ...raw });
  return compileTransform(rules, relation, { secret: 's', tenantColumn: 'tenant', ...context });
}

function refusal(raw: object, context: Partial<CompileContext> = {}, relation = USERS): string {
  try {
    compile(raw, context, relation);
  } catch (error) {
    if (error instanceof DroverError) return `${String(error.facts['refusal'])}: ${error.message}`;
    throw error;
  }
  return 'taken';
}

describe('what is refused', () => {
  it.each([
    [
      'a column that is not there',
      { actions: [{ drop: 'ssn' }] },
      /^missing_column: transform\[0\]\.actions\[0\]: table public\.users has no column "ssn"/,
    ],
    ['a key that is dropped', { actions: [{ drop: 'id' }] }, /^key: .*found by column "id"/],
    ['a key that is rounded', { actions: [{ mask: 'id', with: 'round', digits: -1 }] }, /^key/],
    ['a key under a constant', { actions: [{ mask: 'id', with: 'constant', value: 1 }] }, /^key/],
    [
      'the tenant column',
      { actions: [{ mask: 'tenant', with: 'hash' }] },
      /^tenant_column: .*says whose a row is/,
    ],
    ['the tenant column under another name', { actions: [{ rename: 'tenant', to: 't' }] }, /^tenant_column/],
    [
      'a hash that does not fit',
      { actions: [{ mask: 'email', with: 'hash' }] },
      /^value: .*varchar\(20\) does not hold 32/,
    ],
    [
      'a mask of another type',
      { actions: [{ mask: 'born', with: 'partial' }] },
      /^type: .*partial is not for date, but for texts/,
    ],
    ['a mask of an unknown type', { actions: [{ mask: 'doc', with: 'hash' }] }, /^type: .*not for type 3802/],
    [
      'a lossy change of type',
      { actions: [{ convert: 'born', to: 'text' }] },
      /^type: .*date does not become text without loss/,
    ],
    [
      'a constant of another type',
      { actions: [{ mask: 'born', with: 'constant', value: 'soon' }] },
      /^value/,
    ],
    [
      'a constant that is too long',
      { actions: [{ mask: 'email', with: 'constant', value: 'x'.repeat(21) }] },
      /^value: .*\(20\)/,
    ],
    ['a name that is taken', { actions: [{ rename: 'born', to: 'email' }] }, /^name_taken/],
    [
      'a filter outside of the replica identity',
      { where: "born > DATE '2000-01-01'" },
      /^filter_identity: .*lacks column "born"/,
    ],
    [
      'a filter on a column that is not there',
      { where: 'deleted IS NULL' },
      /^filter: .*there is no column "deleted"/,
    ],
    ['an order of texts', { where: "tenant < 'x'" }, /^filter: .*collation/],
    ['types that do not compare', { where: "id = '5'" }, /^filter: .*a number \(without quotes\)/],
  ])('%s', (_, raw, expected) => {
    expect(refusal(raw)).toMatch(expected);
  });

  it('a mask of the primary key under REPLICA IDENTITY FULL, where it is known', () => {
    const full: Relation = {
      ...USERS,
      identity: 'f',
      columns: USERS.columns.map((c) => ({ ...c, key: true })),
    };
    const raw = { actions: [{ mask: 'id', with: 'round', digits: -1 }] };
    expect(refusal(raw, { primaryKey: ['tenant', 'id'] }, full)).toMatch(/^key/);
    expect(refusal(raw, { primaryKey: null }, full)).toBe('taken');
    expect(refusal({ where: 'born IS NULL' }, {}, full)).toBe('taken');
  });
});

describe('what is taken', () => {
  it('names, types and keys come out as the actions say, one upon the other', () => {
    const plan = compile({
      actions: [
        { rename: 'email', to: 'mail' },
        { mask: 'mail', with: 'hash', length: 20 },
        { convert: 'mail', to: 'text' },
        { mask: 'id', with: 'format-keeping' },
        { convert: 'id', to: 'int8' },
        { drop: 'doc' },
      ],
    });
    expect(plan?.relation.columns).toEqual([
      { name: 'tenant', typeOid: 25, typmod: -1, key: true },
      { name: 'id', typeOid: 20, typmod: -1, key: true },
      { name: 'mail', typeOid: 25, typmod: -1, key: false },
      { name: 'born', typeOid: 1082, typmod: -1, key: false },
    ]);
  });

  it('tables that no rule meets, and columns that a pattern does not find, stay as they are', () => {
    expect(compile({ tables: ['public.orders'], actions: [{ drop: 'email' }] })).toBeNull();
    expect(compile({ tables: ['public.*'], actions: [{ drop: 'ssn' }] })).toBeNull();
    expect(compile({ actions: [{ mask: 'doc', with: 'null' }] })?.touched).toBe(true);
    expect(compile({ where: 'id > 0' })?.relation).toBe(USERS);
  });

  it('tenants under the same rules share a set, and plans are made once', () => {
    const rules = rulesOfTest(
      { tables: ['public.*'], actions: [{ drop: 'doc' }] },
      {
        tables: ['public.users'],
        tenants: ['eu-*'],
        actions: [{ mask: 'born', with: 'truncate', to: 'year' }],
      },
      { tables: ['public.users'], target: 'west', stage: 'apply', tier: 'gold', actions: [{ drop: 'born' }] },
    );
    const transforms = new Transforms({ rules, secret: 's', tenantColumn: () => 'tenant' });
    const publish = (tenant: string) => transforms.for({ stage: 'publish', tenant, tier: 'gold' });
    expect(publish('us-1')).toBe(publish('us-2'));
    expect(publish('eu-1')).not.toBe(publish('us-1'));
    const set = publish('us-1')!;
    expect(set.planFor(USERS)).toBe(set.planFor(USERS));
    expect(transforms.for({ stage: 'apply', tenant: 'a', tier: 'gold', target: 'east' })).toBeNull();
    expect(transforms.for({ stage: 'apply', tenant: 'a', tier: 'gold', target: 'west' })).not.toBeNull();
    expect([transforms.needTiers('publish'), transforms.needTiers('apply')]).toEqual([false, true]);
  });
});
