import { describe, expect, it } from 'vitest';
import type { TenantTable } from '../scope.ts';
import { limitedTo } from './missed.ts';

const table = (name: string): TenantTable => ({
  oid: 1,
  schema: 'public',
  name,
  where: 'tenant_id = 7',
  columns: ['tenant_id', 'id', 'body'],
  key: [
    { name: 'tenant_id', type: 'integer' },
    { name: 'id', type: 'uuid' },
  ],
  sizeBytes: 0,
});
const row = (name: string, key: Record<string, unknown>) => ({ schema: 'public', table: name, key });

describe('the scope of a further pass', () => {
  it('is the missed rows of their tables and nothing else', () => {
    const scope = limitedTo(
      [
        row('a', { tenant_id: '7', id: "x'y" }),
        row('a', { tenant_id: '7', id: "x'y" }),
        row('a', { tenant_id: 7, id: 'z' }),
      ],
      [table('a'), table('b')],
    );
    expect(scope.map((t) => t.name)).toEqual(['a']);
    expect(scope[0]?.where).toBe(
      `tenant_id = 7 AND (("tenant_id" = '7'::integer AND "id" = 'x''y'::uuid) OR ("tenant_id" = '7'::integer AND "id" = 'z'::uuid))`,
    );
  });

  it('takes a table whole when a key cannot be told', () => {
    expect(limitedTo([row('a', { other: '1' })], [table('a')])[0]?.where).toBe('tenant_id = 7');
    expect(limitedTo([row('a', { id: null })], [table('a')])[0]?.where).toBe('tenant_id = 7');
    expect(limitedTo([row('a', { tenant_id: 7, id: { base64: 'AA==' } })], [table('a')])[0]?.where).toBe(
      'tenant_id = 7',
    );
    expect(limitedTo([row('a', {})], [table('a')])[0]?.where).toBe('tenant_id = 7');
  });
});
