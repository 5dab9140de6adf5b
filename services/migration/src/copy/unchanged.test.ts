import { expect, it } from 'vitest';
import type { TenantTable } from '../scope.ts';
import { changedTables } from './unchanged.ts';

const NOTE: TenantTable = {
  oid: 1,
  schema: 'public',
  name: 'note',
  where: `tenant = 'a'`,
  columns: ['tenant', 'id', 'body'],
  key: [{ name: 'id', type: 'integer' }],
  sizeBytes: 8192,
};
const OTHER: TenantTable = { ...NOTE, oid: 2, name: 'other' };

it('names what came, went or is read otherwise, and nothing else', () => {
  expect(changedTables([NOTE, OTHER], [OTHER, { ...NOTE, sizeBytes: 1 }])).toEqual([]);
  expect(changedTables([NOTE], [NOTE, OTHER])).toEqual(['public.other']);
  expect(changedTables([NOTE, OTHER], [NOTE])).toEqual(['public.other']);
  const others: readonly Partial<TenantTable>[] = [
    { oid: 3 },
    { columns: ['tenant', 'id'] },
    { key: null },
    { key: [{ name: 'id', type: 'bigint' }] },
    { where: 'true' },
    { ruled: { plans: [], columns: ['id'], keyTouched: false } },
  ];
  for (const other of others) expect(changedTables([NOTE], [{ ...NOTE, ...other }])).toEqual(['public.note']);
});
