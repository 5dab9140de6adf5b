import { describe, expect, test } from 'vitest';
import { classifyTable, type TableClass, type TableShape, type Tagging } from './tagging.ts';

const BASE: Tagging = {
  mode: 'column',
  column: 'tenant_id',
  overrides: { 'public.accounts': 'id', 'public.broken': 'nope' },
  reference: ['public.country', 'geo.*'],
  exclude: ['public.job', 'tmp.*'],
  schemaPrefix: 't_',
  databasePrefix: 'd_',
};
const table = (
  schema: string,
  name: string,
  columns = ['id', 'tenant_id'],
  database?: string,
): TableShape => ({
  schema,
  name,
  columns,
  ...(database === undefined ? {} : { database }),
});

describe.each<[string, Tagging, TableShape, TableClass | { kind: 'unclassified'; why: RegExp }]>([
  ['column', BASE, table('public', 'orders'), { kind: 'column', column: 'tenant_id' }],
  ['override', BASE, table('public', 'accounts'), { kind: 'column', column: 'id' }],
  ['override of a missing column', BASE, table('public', 'broken'), { kind: 'unclassified', why: /"nope"/ }],
  [
    'no column',
    BASE,
    table('public', 'x', ['id']),
    { kind: 'unclassified', why: /public\.x has no column "tenant_id"/ },
  ],
  ['reference', BASE, table('public', 'country'), { kind: 'reference' }],
  ['reference by schema', BASE, table('geo', 'city'), { kind: 'reference' }],
  ['excluded', BASE, table('public', 'job'), { kind: 'excluded' }],
  ['excluded by schema', BASE, table('tmp', 'a'), { kind: 'excluded' }],
  ['our own schema', BASE, table('drover', 'tenant'), { kind: 'excluded' }],
  ['a system schema', BASE, table('pg_temp_3', 'a'), { kind: 'excluded' }],
  [
    'exclude beats reference',
    { ...BASE, reference: ['public.job'] },
    table('public', 'job'),
    { kind: 'excluded' },
  ],
  [
    'schema',
    { ...BASE, mode: 'schema' },
    table('t_acme', 'a', []),
    { kind: 'schema', tenant: 'acme' as never },
  ],
  [
    'schema without prefix',
    { ...BASE, mode: 'schema' },
    table('public', 'a'),
    { kind: 'unclassified', why: /"t_"/ },
  ],
  [
    'schema that is only the prefix',
    { ...BASE, mode: 'schema' },
    table('t_', 'a'),
    { kind: 'unclassified', why: /usable/ },
  ],
  [
    'schema with a reserved name',
    { ...BASE, mode: 'schema' },
    table('t__x', 'a'),
    { kind: 'unclassified', why: /usable/ },
  ],
  [
    'override in schema mode',
    { ...BASE, mode: 'schema' },
    table('public', 'accounts'),
    { kind: 'column', column: 'id' },
  ],
  [
    'database',
    { ...BASE, mode: 'database' },
    table('public', 'a', [], 'd_acme'),
    { kind: 'schema', tenant: 'acme' as never },
  ],
  [
    'database unknown',
    { ...BASE, mode: 'database' },
    table('public', 'a'),
    { kind: 'unclassified', why: /unknown/ },
  ],
])('%s', (_, tagging, shape, expected) => {
  test('is classified', () => {
    const actual = classifyTable(tagging, shape);
    if (expected.kind === 'unclassified') {
      expect(actual).toEqual({ kind: 'unclassified', why: expect.stringMatching(expected.why) });
    } else expect(actual).toEqual(expected);
  });
});

test('a table named like a property of every object has no override', () => {
  expect(classifyTable({ ...BASE, overrides: {} }, table('constructor', 'x')).kind).toBe('column');
});
