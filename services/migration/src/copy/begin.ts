/** Where a pass of a copy begins in the stream, and what an attempt that died has left of one. */
import { type StreamState, streamName, streamState } from '@drover/bus';
import { DroverError, formatLsn, type Lsn, partitionOf } from '@drover/core';
import { followTenant, type Queryable, readTenantRow } from '@drover/pg';
import type { TenantTable } from '../scope.ts';
import { BeginAnew } from './begin-anew.ts';
import type { CopyContext, Job } from './context.ts';
import { limitedTo, type MissedRow } from './missed.ts';
import { isOf, type PassStart, readRecord, type TableProgress, tableName, writeStart } from './record.ts';

export interface Pass {
  readonly start: PassStart;
  readonly tables: readonly TenantTable[];
  readonly progress: Readonly<Record<string, TableProgress>>;
}

export type Left =
  /** Nothing of use. */
  | { readonly kind: 'nothing' }
  /** Chunks: the pass is taken up behind its last one. */
  | { readonly kind: 'chunks'; readonly pass: Pass }
  /** All rows: the replica was catching up to the barrier. */
  | { readonly kind: 'rows'; readonly barrier: Lsn }
  | { readonly kind: 'everything' };

export async function readLeft(context: CopyContext, job: Job): Promise<Left> {
  const { tenant, to, placement } = job;
  const record = await readRecord(job);
  if (record === null) return { kind: 'nothing' };
  if (record.state === 'done') return { kind: 'everything' };
  const row = await readTenantRow(context.admin(to, placement.database), tenant);
  const follows =
    row?.role === 'replica' && row.epoch === placement.epoch && row.source === placement.primary;
  if (!follows || (await stateOfStream(context, job)).created !== record.start.created)
    return { kind: 'nothing' };
  if ((await timelineOf(context, job)) !== record.start.timeline) return { kind: 'nothing' };
  // A further pass had stopped apply, and nothing says where: tables without a key cannot be followed from an earlier place.
  if (row.feed === 'copying' && record.start.followed) return { kind: 'nothing' };
  if (row.feed !== 'copying') {
    return row.lenientUntil === null ? { kind: 'nothing' } : { kind: 'rows', barrier: row.lenientUntil };
  }
  const { start, progress } = record;
  const all = new Map(job.tables.map((table) => [tableName(table), table]));
  for (const [name, of] of Object.entries(progress)) {
    const table = all.get(name);
    if (table === undefined || !isOf(of, table)) return { kind: 'nothing' };
  }
  const tables = start.missed === null ? job.tables : limitedTo(start.missed, job.tables);
  return { kind: 'chunks', pass: { start, tables, progress } };
}

/**
 * The sequence first, then the apply worker leaves the tenant alone, then what the target holds of the scope is removed. The whole tenant is
 * followed from the end of the stream. Beside the rows of a further pass stand others that are at the replica's own position,
 * which may be behind that end: they are followed from there (I1).
 */
export async function beginPass(
  context: CopyContext,
  job: Job,
  missed: readonly MissedRow[] | null,
): Promise<Pass> {
  const { tenant, to, placement } = job;
  const { epoch, primary, database } = placement;
  const stream = streamOf(context, job);
  const timeline = await timelineOf(context, job);
  const { created, lastSeq } = await stateOfStream(context, job);
  const copying = { tenant, epoch, source: primary, feed: 'copying', stream } as const;
  const pool = context.admin(to, database);
  let n0 = lastSeq;
  let applied: string | null = null;
  if (missed === null) await followTenant(pool, { ...copying, streamSeq: n0 });
  else {
    await pool.transaction(async (client) => {
      // Apply holds the row while it writes: where it stands now is where it stays.
      await client.query('SELECT FROM drover.tenant WHERE tenant = $1 FOR UPDATE', [tenant]);
      const at = await positionOf(client, context, job);
      n0 = Math.min(lastSeq, at.seq);
      applied = at.applied;
      await followTenant(client, { ...copying, streamSeq: n0 });
    });
  }
  // From here on apply parks the tenant when the stream loses what it held; before, nobody has told it that this matters.
  const now = await stateOfStream(context, job);
  if (now.created !== created || now.lastSeq < n0)
    throw new DroverError('copy.failed', `${stream} has lost what it held meanwhile; the copy begins anew`);
  await context.failpoint?.('stopped');
  const gone = missed?.find(
    (row) => !job.tables.some((t) => t.schema === row.schema && t.name === row.table),
  );
  if (gone !== undefined)
    throw new BeginAnew(
      'copy.failed',
      `${gone.schema}.${gone.table}, of which rows are to be read again, is not there any more; the copy begins anew`,
    );
  const tables = missed === null ? job.tables : limitedTo(missed, job.tables);
  const copied = missed === null ? 0 : job.tally.rows;
  const start = { n0, created, epoch, since: job.since, timeline, copied, missed, applied, followed: false };
  await writeStart(job, tables, start);
  return { start, tables, progress: {} };
}

/** @throws DroverError `copy.failed` when the source's endpoint leads to a standby */
export async function timelineOf(context: CopyContext, job: Pick<Job, 'placement'>): Promise<string> {
  const { primary, database } = job.placement;
  const { rows } = await context
    .admin(primary, database)
    .query<{ timeline: string | null }>(
      `SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL ELSE left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8) END AS timeline`,
    );
  const timeline = rows[0]?.timeline ?? null;
  if (timeline !== null) return timeline;
  throw new DroverError(
    'copy.failed',
    `${primary} is a standby: its rows may be old, and nothing can be copied from there`,
    {
      hint: 'its endpoint must lead to the server that takes writes',
    },
  );
}

export function streamOf(context: CopyContext, job: Pick<Job, 'tenant' | 'placement'>): string {
  return streamName(job.placement.primary, partitionOf(job.tenant, context.partitions));
}

async function stateOfStream(context: CopyContext, job: Job): Promise<StreamState> {
  const { primary } = job.placement;
  const state = await streamState(context.bus, primary, partitionOf(job.tenant, context.partitions));
  if (state !== undefined) return state;
  throw new DroverError('copy.failed', `there is no stream ${streamOf(context, job)}`, {
    hint: `it is made when ${primary} is captured: \`drover run cdc --cluster ${primary}\``,
  });
}

/** How far the replica has come; it was following until now. */
async function positionOf(
  client: Queryable,
  context: CopyContext,
  job: Job,
): Promise<{ seq: number; applied: string | null }> {
  const row = await readTenantRow(client, job.tenant);
  if (row?.stream === streamOf(context, job) && row.streamSeq !== null)
    return { seq: row.streamSeq, applied: row.commitLsn === null ? null : formatLsn(row.commitLsn) };
  throw new DroverError('copy.failed', `${job.to} does not follow the stream of ${job.tenant} any more`);
}
