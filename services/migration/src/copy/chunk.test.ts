import { describe, expect, it } from 'vitest';
import type { TenantTable } from '../scope.ts';
import { boundQuery, copyOut } from './chunk.ts';

const table: TenantTable = {
  oid: 1,
  schema: 'public',
  name: 'Order Items',
  where: `tenant_id = 'a''b'::text`,
  columns: ['tenant_id', 'id', 'note'],
  key: [
    { name: 'tenant_id', type: 'text' },
    { name: 'id', type: 'integer' },
  ],
  sizeBytes: 0,
};

describe('the statements of a chunk', () => {
  it('quote names and values and compare composite keys as rows', () => {
    expect(copyOut(table, ["a'b", '7'], ["a'b", '12'])).toBe(
      `COPY (SELECT "tenant_id", "id", "note" FROM "public"."Order Items" WHERE tenant_id = 'a''b'::text` +
        ` AND ("tenant_id", "id") > ('a''b'::text, '7'::integer) AND ("tenant_id", "id") <= ('a''b'::text, '12'::integer)) TO STDOUT`,
    );
  });

  it('reads from the start without a cursor', () => {
    expect(boundQuery(table, null, 10)).not.toContain('>');
    expect(boundQuery(table, ['x', '1'], 10)).toContain("> ('x'::text, '1'::integer)");
    expect(boundQuery(table, null, 10)).toContain('LIMIT 10');
  });
});
