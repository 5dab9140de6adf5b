/**
 * Replica identity: an UPDATE or DELETE in the WAL must name its row *and* its tenant, so the old image must hold the tenant
 * column (manual, ALTER TABLE ... REPLICA IDENTITY). Pure.
 */
import { createHash } from 'node:crypto';
import type { TableInfo } from '../catalog/table-info.ts';
import { quoteIdent, quoteTable } from '../quote.ts';
import type { ClassifiedTable } from '../setup/captured.ts';
import { type Finding, finding } from './finding.ts';

/** Above this, statements are given in the form that does not hold up writers. */
export const BIG_TABLE_BYTES = 64 * 1024 * 1024;

export function checkIdentity(c: ClassifiedTable): Finding[] {
  const { table } = c;
  const object = `table ${table.schema}.${table.name}`;
  const findings: Finding[] = [];
  const tenantColumn = c.class.kind === 'column' ? c.class.column : null;
  const nullable = table.columns.some((column) => column.name === tenantColumn && !column.notNull);
  const full = table.replicaIdentity === 'f';
  if (nullable && tenantColumn !== null) {
    findings.push(
      finding(
        full || table.primaryKey === null ? 'warning' : 'error',
        'nullable_tenant_column',
        object,
        `column "${tenantColumn}" may be NULL; such rows belong to no tenant and are replicated to nobody`,
        setNotNull(table, tenantColumn),
      ),
    );
  }
  if (table.primaryKey === null && !hasUsableIndex(table, tenantColumn)) {
    findings.push(
      finding(
        full ? 'warning' : 'error',
        'missing_primary_key',
        object,
        full
          ? 'there is no primary key: whole rows identify each other (REPLICA IDENTITY FULL), which makes updates and deletes slow to apply'
          : 'there is no primary key: PostgreSQL refuses UPDATE and DELETE of a published table without a replica identity',
        full ? [] : [`ALTER TABLE ${quoteTable(table.schema, table.name)} REPLICA IDENTITY FULL`],
      ),
    );
    return findings;
  }
  if (full) return findings;
  if (
    table.identityColumns.length === 0 ||
    (tenantColumn !== null && !table.identityColumns.includes(tenantColumn))
  ) {
    findings.push(
      finding(
        'error',
        'identity_without_tenant',
        object,
        table.identityColumns.length === 0
          ? 'the replica identity names no columns: updates and deletes cannot be replicated'
          : `the replica identity (${table.identityColumns.join(', ')}) lacks the tenant column "${tenantColumn}": updates and deletes in the WAL do not name their tenant`,
        identityStatements(table, tenantColumn),
      ),
    );
  }
  return findings;
}

/** Statements that give the table an identity with the tenant column. The column is NOT NULL by then. */
export function identityStatements(table: TableInfo, tenantColumn: string | null): string[] {
  const name = quoteTable(table.schema, table.name);
  if (tenantColumn === null || table.primaryKey?.includes(tenantColumn)) {
    if (table.primaryKey !== null) return [`ALTER TABLE ${name} REPLICA IDENTITY DEFAULT`];
  }
  const usable = usableIndexes(table, tenantColumn)[0];
  if (usable !== undefined)
    return [`ALTER TABLE ${name} REPLICA IDENTITY USING INDEX ${quoteIdent(usable.name)}`];
  if (table.primaryKey === null || tenantColumn === null)
    return [`ALTER TABLE ${name} REPLICA IDENTITY FULL`];
  const index = identityIndexName(table.name);
  const concurrently = table.sizeBytes > BIG_TABLE_BYTES && !table.isPartitioned;
  const statements: string[] = [];
  if (table.uniqueIndexes.some((i) => i.name === index && !i.valid)) {
    statements.push(`DROP INDEX ${concurrently ? 'CONCURRENTLY ' : ''}${quoteTable(table.schema, index)}`);
  }
  const columns = [tenantColumn, ...table.primaryKey].map(quoteIdent).join(', ');
  statements.push(
    `CREATE UNIQUE INDEX ${concurrently ? 'CONCURRENTLY ' : ''}${quoteIdent(index)} ON ${name} (${columns})`,
    `ALTER TABLE ${name} REPLICA IDENTITY USING INDEX ${quoteIdent(index)}`,
  );
  return statements;
}

function setNotNull(table: TableInfo, column: string): string[] {
  const name = quoteTable(table.schema, table.name);
  const set = `ALTER TABLE ${name} ALTER COLUMN ${quoteIdent(column)} SET NOT NULL`;
  if (table.sizeBytes <= BIG_TABLE_BYTES) return [set];
  // A validated CHECK spares SET NOT NULL the scan under an exclusive lock (ALTER TABLE, notes).
  return [
    `ALTER TABLE ${name} ADD CONSTRAINT drover_not_null CHECK (${quoteIdent(column)} IS NOT NULL) NOT VALID`,
    `ALTER TABLE ${name} VALIDATE CONSTRAINT drover_not_null`,
    set,
    `ALTER TABLE ${name} DROP CONSTRAINT drover_not_null`,
  ];
}

/** Unique indexes that may be a replica identity (whole, immediate, plain NOT NULL columns) and hold the tenant; shortest first. */
function usableIndexes(table: TableInfo, tenantColumn: string | null) {
  const notNull = new Set(
    table.columns.filter((c) => c.notNull || c.name === tenantColumn).map((c) => c.name),
  );
  return table.uniqueIndexes
    .filter((index) => index.valid && !index.partial && index.immediate)
    .filter((index) => index.columns.every((column) => column !== null && notNull.has(column)))
    .filter((index) => tenantColumn === null || index.columns.includes(tenantColumn))
    .sort((a, b) => a.columns.length - b.columns.length);
}

function hasUsableIndex(table: TableInfo, tenantColumn: string | null): boolean {
  return usableIndexes(table, tenantColumn).length > 0;
}

/** `drover_<table>_identity`, within PostgreSQL's 63 bytes. */
export function identityIndexName(table: string): string {
  const plain = `drover_${table}_identity`;
  if (Buffer.byteLength(plain) <= 63) return plain;
  const hash = createHash('sha256').update(table).digest('hex').slice(0, 8);
  return `drover_${Buffer.from(table)
    .subarray(0, 36)
    .toString('utf8')
    .replace(/\uFFFD+$/, '')}_${hash}_identity`;
}
