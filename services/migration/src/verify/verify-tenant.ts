/**
 * Compares a tenant on its primary and a replica at exactly one point of its history, while both are live. The tenant's writers are shut out for
 * the moment in which a snapshot is taken and a barrier written; the replica's apply worker stops behind that barrier just long enough for
 * a snapshot there. Then both snapshots are compared at leisure.
 */
import type { Catalog } from '@drover/catalog';
import { type ClusterId, DroverError, type TenantId, until } from '@drover/core';
import {
  connectPg,
  emitBarrier,
  type PgPool,
  type Queryable,
  readTenantRow,
  setFeed,
  type Tagging,
} from '@drover/pg';
import { withTenantShutOut } from '../copy/snapshot.ts';
import { type TenantTable, tenantTables } from '../scope.ts';
import {
  type Bucket,
  bucketQuery,
  differingBuckets,
  differingKeys,
  type KeyedRow,
  rowsQuery,
} from './checksum.ts';

export interface VerifyContext {
  readonly catalog: Catalog;
  readonly tagging: Tagging;
  readonly admin: (cluster: ClusterId, database: string) => PgPool;
  /** Tells the apply worker to look at the tenant's row at once. */
  readonly nudge: (cluster: ClusterId, tenant: TenantId) => Promise<void>;
  readonly progress: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface TableResult {
  readonly table: string;
  readonly rows: number;
  readonly equal: boolean;
  /** Keys as JSON; the first hundred. */
  readonly differing: readonly string[];
}

export interface VerifyResult {
  readonly target: ClusterId;
  readonly equal: boolean;
  readonly tables: readonly TableResult[];
}

const PAUSE_MS = 10_000;
const BARRIER_TIMEOUT_MS = 60_000;
const KEYS_MAX = 100;
/** Writers that bypass the proxy are not shut out by the fence: what differs is looked at again before it is believed. */
const ATTEMPTS_MAX = 3;

export async function verifyTenant(
  context: VerifyContext,
  tenant: TenantId,
  target: ClusterId,
): Promise<VerifyResult> {
  let result = await verifyOnce(context, tenant, target);
  for (let attempt = 1; attempt < ATTEMPTS_MAX && !result.equal; attempt++) {
    context.progress(`differences seen, comparing again (${attempt + 1} of ${ATTEMPTS_MAX})`);
    const again = await verifyOnce(context, tenant, target);
    result = again.equal ? again : { ...again, tables: again.tables.map((t) => persistent(t, result)) };
    result = { ...result, equal: result.tables.every((t) => t.equal) };
  }
  return result;
}

/** Keys that differed in both looks; a table with none is equal. */
function persistent(table: TableResult, before: VerifyResult): TableResult {
  const earlier = before.tables.find((t) => t.table === table.table);
  if (table.equal || earlier === undefined || earlier.equal) return { ...table, equal: true, differing: [] };
  const keys = table.differing.filter((key) => earlier.differing.includes(key));
  // A full list may hide keys: then nothing is taken back.
  const full = table.differing.length >= KEYS_MAX || earlier.differing.length >= KEYS_MAX;
  return full ? table : { ...table, equal: keys.length === 0, differing: keys };
}

async function verifyOnce(
  context: VerifyContext,
  tenant: TenantId,
  target: ClusterId,
): Promise<VerifyResult> {
  const found = await context.catalog.getPlacement(tenant);
  if (found === null) throw new DroverError('tenant.unknown', `there is no tenant ${tenant}`);
  const { primary, database, replicas } = found.value;
  if (replicas[target]?.state !== 'live') {
    throw new DroverError(
      'tenant.no_replica',
      `${target} holds no live replica of ${tenant} (${replicas[target]?.state ?? 'none'})`,
    );
  }
  const source = context.admin(primary, database);
  const replica = context.admin(target, database);
  const id = `verify-${crypto.randomUUID()}`;
  const left = await connectPg({ ...source.options, applicationName: 'drover verify' });
  const right = await connectPg({ ...replica.options, applicationName: 'drover verify' });
  try {
    await withTenantShutOut(source, tenant, async () => {
      await snapshot(left);
      await emitBarrier(source, { tenant, id, pauseFor: { target, ms: PAUSE_MS } });
    });
    context.progress('waiting for the barrier');
    await until(
      async () => {
        const row = await readTenantRow(replica, tenant);
        if (row?.feed === 'parked') {
          throw new DroverError(
            'verify.failed',
            `the replica is parked: ${row.reason ?? 'no reason on record'}`,
          );
        }
        return row?.feed === 'held' && row.reason === `pause:${id}` ? true : undefined;
      },
      {
        everyMs: 20,
        timeoutMs: BARRIER_TIMEOUT_MS,
        signal: context.signal,
        onTimeout: () =>
          new DroverError(
            'verify.failed',
            `the barrier did not arrive at ${target} within ${BARRIER_TIMEOUT_MS / 1000} s`,
          ),
      },
    );
    await snapshot(right);
    await setFeed(replica, { tenant, feed: 'catchup', from: ['held'] });
    await context.nudge(target, tenant);
    const tables: TableResult[] = [];
    for (const table of await tenantTables(left, context.tagging, database, tenant)) {
      context.progress(`comparing ${table.schema}.${table.name}`);
      tables.push(await compareTable(left, right, table));
    }
    return { target, equal: tables.every((t) => t.equal), tables };
  } finally {
    await left.end().catch(() => undefined);
    await right.end().catch(() => undefined);
  }
}

async function snapshot(client: Queryable): Promise<void> {
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  await client.query('SELECT 1');
}

async function compareTable(left: Queryable, right: Queryable, table: TenantTable): Promise<TableResult> {
  const name = `${table.schema}.${table.name}`;
  const [a, b] = await Promise.all(
    [left, right].map((side) => side.query(bucketQuery(table)).then((r) => r.rows as unknown as Bucket[])),
  );
  const rows = (a ?? []).reduce((sum, bucket) => sum + bucket.rows, 0);
  const buckets = differingBuckets(a ?? [], b ?? []);
  if (buckets.length === 0) return { table: name, rows, equal: true, differing: [] };
  const [x, y] = await Promise.all(
    [left, right].map((side) =>
      side.query(rowsQuery(table), [buckets]).then((r) => r.rows as unknown as KeyedRow[]),
    ),
  );
  return { table: name, rows, equal: false, differing: differingKeys(x ?? [], y ?? [], KEYS_MAX) };
}
