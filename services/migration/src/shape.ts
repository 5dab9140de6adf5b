/**
 * Whether a tenant's tables can be written at another cluster as they are at the primary. Asked before anything is touched: a copy
 * that fails at its last table has cost hours.
 */
import type { ClusterId, ErrorCode } from '@drover/core';
import { DroverError } from '@drover/core';
import { doctorPair, type Queryable, type Tagging } from '@drover/pg';
import { ruledFindings } from './ruled.ts';
import type { TenantTable } from './scope.ts';

const TOLD_MAX = 3;

/** @throws DroverError `code` with the tables' names and what differs */
export async function requireSameShape(
  sides: { source: Queryable; target: Queryable; to: ClusterId },
  tagging: Tagging,
  tables: readonly TenantTable[],
  code: ErrorCode,
): Promise<void> {
  const plain = tables.filter((table) => table.ruled === undefined);
  const own = new Set(plain.map((table) => `table ${table.schema}.${table.name}`));
  const findings = await doctorPair(sides.source, sides.target, { tagging, targetName: sides.to });
  const ruled = await ruledFindings(sides.target, sides.to, tables);
  const errors = [...findings.filter((f) => own.has(f.object)), ...ruled].filter(
    (f) => f.severity === 'error',
  );
  if (errors.length === 0) return;
  const told = errors.slice(0, TOLD_MAX).map((f) => `${f.object.replace(/^table /, '')}: ${f.message}`);
  const more = errors.length > TOLD_MAX ? `; and ${errors.length - TOLD_MAX} more` : '';
  throw new DroverError(code, `${sides.to} is made otherwise. ${told.join('; ')}${more}`, {
    hint: '`drover doctor` shows each difference with the SQL that mends it',
    facts: { cluster: sides.to, differences: errors.length },
  });
}
