import { describe, expect, it } from 'vitest';
import type { TableInfo, UniqueIndexInfo } from '../catalog/table-info.ts';
import type { ClassifiedTable } from '../setup/captured.ts';
import { BIG_TABLE_BYTES, checkIdentity, identityIndexName } from './identity.ts';

const column = (name: string, notNull = true) => ({
  name,
  typeOid: 25,
  typeName: 'text',
  typmod: -1,
  notNull,
  generated: '' as const,
  identity: '' as const,
  hasDefault: false,
});
const unique = (name: string, columns: string[], more: Partial<UniqueIndexInfo> = {}): UniqueIndexInfo => ({
  name,
  columns,
  primary: false,
  partial: false,
  immediate: true,
  valid: true,
  nullsNotDistinct: false,
  ...more,
});

function table(more: Partial<TableInfo>): ClassifiedTable {
  return {
    class: { kind: 'column', column: 'tenant' },
    isPartition: false,
    table: {
      oid: 1,
      schema: 'public',
      name: 'orders',
      columns: [column('tenant'), column('id'), column('code')],
      primaryKey: ['id'],
      replicaIdentity: 'd',
      identityColumns: ['id'],
      partitionOf: null,
      isPartitioned: false,
      inherits: [],
      persistence: 'permanent',
      owner: 'app',
      sizeBytes: 8192,
      uniqueIndexes: [],
      triggers: [],
      rls: { enabled: false, forced: false },
      ...more,
    },
  };
}
const codes = (c: ClassifiedTable) => checkIdentity(c).map((f) => `${f.severity} ${f.code}`);
const sql = (c: ClassifiedTable) => checkIdentity(c).flatMap((f) => f.statements ?? []);

describe('checkIdentity', () => {
  it('is content when the old row names its tenant', () => {
    expect(codes(table({ primaryKey: ['tenant', 'id'], identityColumns: ['tenant', 'id'] }))).toEqual([]);
    expect(codes(table({ replicaIdentity: 'f', identityColumns: ['tenant', 'id', 'code'] }))).toEqual([]);
    expect(codes(table({ replicaIdentity: 'i', identityColumns: ['tenant', 'id'] }))).toEqual([]);
    expect(codes({ ...table({}), class: { kind: 'reference' } })).toEqual([]);
  });

  it('adds an index over tenant and key when none will do', () => {
    expect(sql(table({}))).toEqual([
      'CREATE UNIQUE INDEX "drover_orders_identity" ON "public"."orders" ("tenant", "id")',
      'ALTER TABLE "public"."orders" REPLICA IDENTITY USING INDEX "drover_orders_identity"',
    ]);
  });

  it('uses an index that is there only if PostgreSQL takes it as identity', () => {
    const using = (index: UniqueIndexInfo) => sql(table({ uniqueIndexes: [index] }))[0];
    expect(using(unique('u', ['tenant', 'code']))).toContain('USING INDEX "u"');
    for (const more of [{ partial: true }, { immediate: false }, { valid: false }]) {
      expect(using(unique('u', ['tenant', 'code'], more)), JSON.stringify(more)).toContain(
        'CREATE UNIQUE INDEX',
      );
    }
    expect(using(unique('u', ['id', 'code']))).toContain('CREATE UNIQUE INDEX');
    expect(
      sql(
        table({
          columns: [column('tenant'), column('id'), column('code', false)],
          uniqueIndexes: [unique('u', ['tenant', 'code'])],
        }),
      )[0],
    ).toContain('CREATE UNIQUE INDEX');
  });

  it('falls back to whole rows without a key, and warns of it afterwards', () => {
    const keyless = table({ primaryKey: null, identityColumns: [] });
    expect(codes(keyless)).toEqual(['error missing_primary_key']);
    expect(sql(keyless)).toEqual(['ALTER TABLE "public"."orders" REPLICA IDENTITY FULL']);
    expect(
      codes(table({ primaryKey: null, replicaIdentity: 'f', identityColumns: ['tenant', 'id', 'code'] })),
    ).toEqual(['warning missing_primary_key']);
  });

  it('asks for NOT NULL first, without a long lock on big tables', () => {
    const nullable = { columns: [column('tenant', false), column('id')] };
    expect(codes(table(nullable))).toEqual(['error nullable_tenant_column', 'error identity_without_tenant']);
    const big = sql(table({ ...nullable, sizeBytes: BIG_TABLE_BYTES + 1 }));
    expect(big.map((s) => s.replace('"public"."orders"', 't'))).toEqual([
      'ALTER TABLE t ADD CONSTRAINT drover_not_null CHECK ("tenant" IS NOT NULL) NOT VALID',
      'ALTER TABLE t VALIDATE CONSTRAINT drover_not_null',
      'ALTER TABLE t ALTER COLUMN "tenant" SET NOT NULL',
      'ALTER TABLE t DROP CONSTRAINT drover_not_null',
      'CREATE UNIQUE INDEX CONCURRENTLY "drover_orders_identity" ON t ("tenant", "id")',
      'ALTER TABLE t REPLICA IDENTITY USING INDEX "drover_orders_identity"',
    ]);
  });

  it('replaces the remains of an index build that failed', () => {
    const remains = unique('drover_orders_identity', ['tenant', 'id'], { valid: false });
    expect(sql(table({ uniqueIndexes: [remains], sizeBytes: BIG_TABLE_BYTES + 1 }))[0]).toBe(
      'DROP INDEX CONCURRENTLY "public"."drover_orders_identity"',
    );
  });

  it('names indexes within 63 bytes, apart from each other', () => {
    const long = [`${'ä'.repeat(31)}1`, `${'ä'.repeat(31)}2`].map(identityIndexName);
    expect(new Set(long).size).toBe(2);
    for (const name of long) expect(Buffer.byteLength(name)).toBeLessThanOrEqual(63);
    expect(identityIndexName('orders')).toBe('drover_orders_identity');
  });
});
