/** Compares a tenant on its primary and a replica, while both are live, and names the rows that differ. Nothing is changed. */
import type { Catalog } from '@drover/catalog';
import { type ClusterId, cancelled, DroverError, type TenantId } from '@drover/core';
import type { PgPool, Tagging, TenantRow } from '@drover/pg';
import { type ConfiguredRules, rulesOfTenant } from '../ruled.ts';
import { tenantTables } from '../scope.ts';
import { requireSameShape } from '../shape.ts';
import { atCommonPoint } from './common-point.ts';
import { compareRuled } from './compare-ruled.ts';
import { compareTable, type TableResult } from './compare-table.ts';
import { confirmed } from './confirmed.ts';

export type { TableResult } from './compare-table.ts';

export interface VerifyContext {
  readonly catalog: Catalog;
  readonly tagging: Tagging;
  /** Absent: there are none. */
  readonly rules?: ConfiguredRules;
  /** Pools as drover_admin. */
  readonly admin: (cluster: ClusterId, database: string) => PgPool;
  /** Tells the apply worker to look at the tenant's row at once. */
  readonly nudge: (cluster: ClusterId, tenant: TenantId) => Promise<void>;
  /** See {@link whereabouts}. */
  readonly whereabouts: (target: ClusterId, database: string, row: TenantRow) => Promise<string>;
  readonly progress: (line: string) => void;
  readonly signal: AbortSignal;
  /** Default: 60 s. */
  readonly barrierTimeoutMs?: number;
}

export interface VerifyResult {
  readonly target: ClusterId;
  readonly equal: boolean;
  readonly tables: readonly TableResult[];
}

const BARRIER_TIMEOUT_MS = 60_000;
/** Writers that bypass the proxy are not shut out by the fence: what differs is looked at again before it is believed. */
const ATTEMPTS_MAX = 3;

/** @throws DroverError `tenant.unknown`, `tenant.no_replica`, `verify.failed`, `internal.cancelled` */
export async function verifyTenant(
  context: VerifyContext,
  tenant: TenantId,
  target: ClusterId,
): Promise<VerifyResult> {
  try {
    return await compareTenant(context, tenant, target);
  } catch (error) {
    // Calling it off cuts its connections: what a statement says of that is no failure of PostgreSQL.
    throw context.signal.aborted ? cancelled() : error;
  }
}

async function compareTenant(
  context: VerifyContext,
  tenant: TenantId,
  target: ClusterId,
): Promise<VerifyResult> {
  let tables = await compareOnce(context, tenant, target);
  for (let attempt = 2; attempt <= ATTEMPTS_MAX && !tables.every((t) => t.equal); attempt++) {
    context.progress(`differences seen, comparing again (${attempt} of ${ATTEMPTS_MAX})`);
    tables = confirmed(tables, await compareOnce(context, tenant, target));
  }
  return { target, equal: tables.every((t) => t.equal), tables };
}

async function compareOnce(
  context: VerifyContext,
  tenant: TenantId,
  target: ClusterId,
): Promise<readonly TableResult[]> {
  const found = await context.catalog.getPlacement(tenant);
  if (found === null) throw new DroverError('tenant.unknown', `there is no tenant ${tenant}`);
  const { primary, database, replicas } = found.value;
  if (replicas[target]?.state !== 'live') {
    throw new DroverError(
      'tenant.no_replica',
      `${target} holds no live replica of ${tenant} (${replicas[target]?.state ?? 'none'})`,
    );
  }
  const sides = {
    source: context.admin(primary, database),
    replica: context.admin(target, database),
    target,
    nudge: () => context.nudge(target, tenant),
    whereabouts: (row: TenantRow) => context.whereabouts(target, database, row),
    barrierTimeoutMs: context.barrierTimeoutMs ?? BARRIER_TIMEOUT_MS,
    signal: context.signal,
  };
  const shape = { source: sides.source, target: sides.replica, to: target };
  const rules = rulesOfTenant(context.rules, found.value, target);
  const tables = await tenantTables(sides.source, context.tagging, database, tenant, rules);
  await requireSameShape(shape, context.tagging, tables, 'verify.failed');
  context.progress('waiting for the barrier');
  return atCommonPoint(sides, tenant, async (left, right) => {
    const results: TableResult[] = [];
    for (const table of tables) {
      context.progress(`comparing ${table.schema}.${table.name}`);
      results.push(
        table.ruled === undefined
          ? await compareTable(left, right, table)
          : await compareRuled(
              { left, right, replica: sides.replica, signal: sides.signal },
              table,
              table.ruled,
            ),
      );
    }
    return results;
  });
}
