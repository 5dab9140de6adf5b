/**
 * The first copy of a tenant to a cluster, and the copy anew of one that must be mended. The order argument stands in
 * docs/architecture.md ("First copy"): N0, snapshot, chunks, barrier B1, catch-up from N0 with leniency up to B1, live.
 */
import { type Bus, publishEvent, streamName } from '@drover/bus';
import type { Catalog, Placement } from '@drover/catalog';
import {
  type ClusterId,
  DroverError,
  formatLsn,
  type Lsn,
  partitionOf,
  type TenantId,
  until,
} from '@drover/core';
import { emitBarrier, followTenant, type PgPool, quoteTable, readTenantRow, type Tagging } from '@drover/pg';
import type { Logger } from '@drover/telemetry';
import { type TenantTable, tenantTables } from '../scope.ts';
import { boundQuery } from './chunk.ts';
import { limitedTo, type MissedRow, readMissed } from './missed.ts';
import { openSnapshot, type SnapshotClient } from './snapshot.ts';
import {
  beginCopy,
  copyChunk,
  openTarget,
  readCopyState,
  type TableProgress,
  type TargetClient,
} from './target.ts';

export interface CopyContext {
  readonly bus: Bus;
  readonly catalog: Catalog;
  readonly log: Logger;
  readonly tagging: Tagging;
  readonly partitions: number;
  readonly chunkRows: number;
  /** Pools as drover_admin. */
  readonly admin: (cluster: ClusterId, database: string) => PgPool;
  /** Connection options as drover_apply. */
  readonly apply: (cluster: ClusterId, database: string) => PgPool;
  readonly signal: AbortSignal;
  readonly onRows: (rows: number) => void;
  /** Tests stop the copy here. */
  readonly failpoint?: (step: string) => Promise<void>;
}

const CATCH_UP_TIMEOUT_MS = 10 * 60_000;

/** Runs or resumes the copy until the replica is live. Throws what stopped it; calling again resumes. */
export async function copyTenant(
  context: CopyContext,
  tenant: TenantId,
  to: ClusterId,
  slot: number,
): Promise<void> {
  const found = await context.catalog.getPlacement(tenant);
  const placement = found?.value;
  if (placement === undefined || placement.replicas[to]?.state !== 'copying') return;
  const { primary, database } = placement;
  const tables = await tenantTables(context.admin(primary, database), context.tagging, database, tenant);
  const target = await openTarget(context.apply(to, database), slot);
  try {
    let missed = await afterFollowing(context, target, placement, to);
    if (missed === null) {
      const start = await prepare(context, target, placement, to, tables);
      missed = await pass(context, { tenant, to, placement, target, tables, start });
    }
    while (missed.length > 0) {
      report(context, tenant, to, { phase: `reading ${missed.length} rows again` });
      const scope = limitedTo(missed, tables);
      const start = await beginPass(context, target, placement, to, scope, true);
      missed = await pass(context, { tenant, to, placement, target, tables: scope, start });
    }
    await target.query(`UPDATE drover.copy SET state = 'done', updated_at = now() WHERE tenant = $1`, [
      tenant,
    ]);
  } catch (error) {
    // Rows that met each other from two snapshots: the copy begins anew, with one snapshot.
    if ((error as { code?: unknown }).code === '23505') {
      await target
        .query(`UPDATE drover.copy SET state = 'restart', error = $2 WHERE tenant = $1`, [
          tenant,
          String(error),
        ])
        .catch(() => undefined);
    }
    throw error;
  } finally {
    await target.end().catch(() => undefined);
  }
  await context.catalog.changePlacement(tenant, (p) => {
    if (p.replicas[to]?.state !== 'copying' || p.primary !== primary || p.epoch !== placement.epoch)
      return null;
    const since = new Date().toISOString();
    return { ...p, replicas: { ...p.replicas, [to]: { state: 'live', since } }, updatedAt: since };
  });
  report(context, tenant, to, { phase: 'live' });
}

interface Pass {
  readonly tenant: TenantId;
  readonly to: ClusterId;
  readonly placement: Placement;
  readonly target: TargetClient;
  readonly tables: readonly TenantTable[];
  readonly start: { n0: number; progress: Readonly<Record<string, TableProgress>> };
}

/** Snapshot, chunks, barrier, catch-up. Returns the rows that must be read again. */
async function pass(context: CopyContext, work: Pass): Promise<MissedRow[]> {
  const { tenant, to, placement, target, tables, start } = work;
  const { primary, database, epoch } = placement;
  const source = context.admin(primary, database);
  await context.failpoint?.('prepared');
  const reader = await openSnapshot(source, tenant, context.signal);
  try {
    await copyTables(context, { tenant, to, placement, reader, target, tables, progress: start.progress });
  } finally {
    await reader.end().catch(() => undefined);
  }
  await context.failpoint?.('copied');
  const barrier = await emitBarrier(source, { tenant, id: `copy-${crypto.randomUUID()}` });
  await followTenant(context.admin(to, database), {
    tenant,
    epoch,
    source: primary,
    feed: 'catchup',
    stream: streamOf(context, placement),
    streamSeq: start.n0,
    lenientUntil: barrier,
  });
  report(context, tenant, to, { phase: 'catching up' });
  await context.failpoint?.('following');
  await waitCaughtUp(context, tenant, to, database, barrier);
  return readMissed(target, tenant);
}

/** An attempt that died while its replica was catching up: nothing is copied twice. Null when there was none. */
async function afterFollowing(
  context: CopyContext,
  target: TargetClient,
  placement: Placement,
  to: ClusterId,
): Promise<MissedRow[] | null> {
  const { tenant, primary, epoch, database } = placement;
  const state = await readCopyState(target, tenant, primary, epoch);
  const row = await readTenantRow(context.admin(to, database), tenant);
  const following =
    row?.role === 'replica' && row.epoch === epoch && row.source === primary && row.feed !== 'copying';
  if (state === null || !following || row.lenientUntil === null) return null;
  await waitCaughtUp(context, tenant, to, database, row.lenientUntil);
  return readMissed(target, tenant);
}

/** Where the copy begins in the stream; an attempt that died between two chunks is taken up behind its last one. */
async function prepare(
  context: CopyContext,
  target: TargetClient,
  placement: Placement,
  to: ClusterId,
  tables: readonly TenantTable[],
): Promise<Pass['start']> {
  const { tenant, primary, epoch, database } = placement;
  const resumed = await readCopyState(target, tenant, primary, epoch);
  const row = await readTenantRow(context.admin(to, database), tenant);
  const copying = row?.role === 'replica' && row.epoch === epoch && row.feed === 'copying';
  // A further pass is not taken up in its middle: its scope is known no more, so the copy begins anew.
  if (resumed !== null && copying && !resumed.partial) return resumed;
  return beginPass(context, target, placement, to, tables, false);
}

/** N0 first, then the apply worker leaves the tenant alone, then what the target holds of the scope is removed. */
async function beginPass(
  context: CopyContext,
  target: TargetClient,
  placement: Placement,
  to: ClusterId,
  tables: readonly TenantTable[],
  partial: boolean,
): Promise<Pass['start']> {
  const { tenant, primary, epoch, database } = placement;
  const stream = streamOf(context, placement);
  const n0 = (await context.bus.jsm.streams.info(stream)).state.last_seq;
  await followTenant(context.admin(to, database), {
    tenant,
    epoch,
    source: primary,
    feed: 'copying',
    stream,
    streamSeq: n0,
  });
  await beginCopy(target, tenant, primary, { n0, epoch, partial }, tables);
  return { n0, progress: {} };
}

function streamOf(context: CopyContext, placement: Placement): string {
  return streamName(placement.primary, partitionOf(placement.tenant, context.partitions));
}

interface Work {
  readonly tenant: TenantId;
  readonly to: ClusterId;
  readonly placement: Placement;
  readonly reader: SnapshotClient;
  readonly target: TargetClient;
  readonly tables: readonly TenantTable[];
  readonly progress: Readonly<Record<string, TableProgress>>;
}

async function copyTables(context: CopyContext, work: Work): Promise<void> {
  const { tenant, to } = work;
  let rows = Object.values(work.progress).reduce((sum, p) => sum + p.rows, 0);
  const total = await countRows(work);
  for (const table of work.tables) {
    const name = `${table.schema}.${table.name}`;
    let at: TableProgress = work.progress[name] ?? { rows: 0, cursor: null, done: false };
    while (!at.done) {
      if (context.signal.aborted) throw new DroverError('internal.cancelled', 'cancelled');
      await requireSameEpoch(context, work);
      const before = at.rows;
      const upTo = table.key === null ? null : await boundOf(work.reader, table, at, context.chunkRows);
      const done = table.key === null || upTo === null;
      if (done && table.key !== null) at = { ...at, done: true };
      else
        at = await copyChunk(work.reader, work.target, {
          tenant,
          table,
          after: at.cursor,
          upTo,
          before: at,
          done,
        });
      rows += at.rows - before;
      context.onRows(at.rows - before);
      report(context, tenant, to, { phase: 'copying', table: name, rows, total });
      await context.failpoint?.('chunk');
    }
  }
}

async function boundOf(
  reader: SnapshotClient,
  table: TenantTable,
  at: TableProgress,
  rows: number,
): Promise<string[] | null> {
  const result = await reader.query<Record<string, string>>(boundQuery(table, at.cursor, rows));
  const row = result.rows[0];
  return row === undefined ? null : (table.key ?? []).map((_, i) => row[`k${i}`] ?? '');
}

async function countRows(work: Work): Promise<number> {
  let total = 0;
  for (const table of work.tables) {
    const { rows } = await work.reader.query<{ n: number }>(
      `SELECT count(*)::float8 AS n FROM ${quoteTable(table.schema, table.name)} WHERE ${table.where}`,
    );
    total += rows[0]?.n ?? 0;
  }
  return total;
}

async function requireSameEpoch(context: CopyContext, work: Work): Promise<void> {
  const now = await context.catalog.getPlacement(work.tenant);
  if (now?.value.epoch !== work.placement.epoch || now.value.primary !== work.placement.primary) {
    throw new DroverError(
      'copy.failed',
      `${work.tenant} was moved while it was copied; the copy begins anew`,
    );
  }
}

async function waitCaughtUp(
  context: CopyContext,
  tenant: TenantId,
  to: ClusterId,
  database: string,
  barrier: Lsn,
): Promise<void> {
  const pool = context.admin(to, database);
  await until(
    async () => {
      const row = await readTenantRow(pool, tenant);
      if (row?.feed === 'parked') {
        throw new DroverError(
          'copy.failed',
          `the replica of ${tenant} is parked: ${row.reason ?? 'no reason on record'}`,
          {
            hint: '`drover ledger list` shows the change',
          },
        );
      }
      return row?.commitLsn != null && row.commitLsn >= barrier ? true : undefined;
    },
    {
      everyMs: 50,
      timeoutMs: CATCH_UP_TIMEOUT_MS,
      signal: context.signal,
      onTimeout: () =>
        new DroverError('copy.failed', `${tenant} did not reach ${formatLsn(barrier)} in time`),
    },
  );
}

function report(
  context: CopyContext,
  tenant: TenantId,
  to: ClusterId,
  fields: Record<string, unknown>,
): void {
  publishEvent(context.bus, 'copy.progress', { tenant, to, ...fields });
}
