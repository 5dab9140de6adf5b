/**
 * drover.copy at the target: what a copy has done, written in the transactions that do it. `state` is `copying`, `done`, or
 * `restart` (what was copied is of no use: begin anew).
 */
import { DroverError } from '@drover/core';
import { inTransaction } from '@drover/pg';
import type { TenantTable } from '../scope.ts';
import type { SessionClient } from '../sessions.ts';
import { type Cursor, deleteAll } from './chunk.ts';
import type { Job } from './context.ts';
import type { MissedRow } from './missed.ts';

/** What a pass must know when it is taken up: column `snapshot`. */
export interface PassStart {
  /** The stream is followed from behind this sequence. */
  readonly n0: number;
  /** Creation time of the stream, its identity: in another one `n0` means nothing. */
  readonly created: string;
  readonly epoch: number;
  /** {@link Job.since} */
  readonly since: string;
  /** Rows of earlier passes. */
  readonly copied: number;
  /** The scope of a further pass; null: the whole tenant. */
  readonly missed: readonly MissedRow[] | null;
  /** What the replica had applied when a further pass began; apply reads it. */
  readonly applied: string | null;
  /** Of the source: after a promotion it may not hold what was copied, and numbers of transactions come again. */
  readonly timeline: string;
  /** The replica was told to follow, and tables without a key have gone on from what was copied. */
  readonly followed: boolean;
}

export interface TableProgress {
  /** Of the table at the source, whatever its name is by now; and the columns that the cursor is of. */
  readonly oid: number;
  readonly key: readonly string[] | null;
  readonly rows: number;
  readonly cursor: Cursor | null;
  readonly done: boolean;
  /** What was copied of it, all of it (pg_snapshot): apply passes over what stands in it. Absent: chunks came by several, or it is not copied whole. */
  readonly snapshot?: string;
}

export interface CopyRecord {
  readonly state: 'copying' | 'done';
  readonly start: PassStart;
  readonly progress: Readonly<Record<string, TableProgress>>;
  /** Noted by apply. */
  readonly missed: readonly MissedRow[];
}

/** The progress is of this very table, as it is now. */
export function isOf(progress: TableProgress, table: TenantTable): boolean {
  const key = table.key?.map(({ name }) => name) ?? null;
  return progress.oid === table.oid && JSON.stringify(progress.key) === JSON.stringify(key);
}

export const tableName = (table: TenantTable): string => `${table.schema}.${table.name}`;

/** What an earlier attempt at this very copy has left; null when there is none, or it is of no use. */
export async function readRecord(job: Omit<Job, 'tally'>): Promise<CopyRecord | null> {
  const { rows } = await job.target.query<{
    state: 'copying' | 'done';
    snapshot: Partial<PassStart>;
    progress: Record<string, TableProgress> & { missed?: readonly MissedRow[] };
  }>(
    `SELECT state, snapshot, progress FROM drover.copy WHERE tenant = $1 AND source = $2 AND state IN ('copying', 'done')`,
    [job.tenant, job.placement.primary],
  );
  const [found] = rows;
  if (found === undefined) return null;
  const { n0, created, epoch, since, timeline, copied = 0, missed: scope = null } = found.snapshot;
  const { applied = null, followed = false } = found.snapshot;
  if (n0 === undefined || created === undefined || timeline === undefined) return null;
  if (epoch !== job.placement.epoch || since !== job.since) return null;
  const { missed = [], ...progress } = found.progress;
  return {
    state: found.state,
    start: { n0, created, epoch, since, timeline, copied, missed: scope, applied, followed },
    progress,
    missed,
  };
}

/** Removes what the target holds of the scope and notes where the pass begins: one transaction. */
export async function writeStart(job: Job, tables: readonly TenantTable[], start: PassStart): Promise<void> {
  const { target, tenant, placement } = job;
  await inTransaction(target, async () => {
    for (const table of tables) await target.query(deleteAll(table));
    await target.query(
      `INSERT INTO drover.copy AS c (tenant, source, state, attempt, snapshot, progress)
       VALUES ($1, $2, 'copying', 1, $3, '{}')
       ON CONFLICT (tenant) DO UPDATE SET source = excluded.source, state = 'copying', attempt = c.attempt + 1,
         snapshot = excluded.snapshot, progress = '{}', error = NULL, started_at = now(), updated_at = now()`,
      [tenant, placement.primary, JSON.stringify(start)],
    );
  });
}

/** Within the transaction that wrote the rows. */
export async function writeProgress(
  target: SessionClient,
  tenant: string,
  table: TenantTable,
  progress: TableProgress,
): Promise<void> {
  const { rowCount } = await target.query(
    `UPDATE drover.copy SET progress = progress || pg_catalog.jsonb_build_object($2::text, $3::jsonb), updated_at = now()
     WHERE tenant = $1 AND state = 'copying'`,
    [tenant, tableName(table), JSON.stringify(progress)],
  );
  if (rowCount !== 1)
    throw new DroverError('copy.failed', `the record of the copy of ${tenant} is gone; it begins anew`);
}

/** See {@link PassStart.followed}. */
export async function writeFollowed(job: Job): Promise<void> {
  await job.target.query(
    `UPDATE drover.copy SET snapshot = snapshot || '{"followed": true}', updated_at = now() WHERE tenant = $1`,
    [job.tenant],
  );
}

export async function writeDone(job: Job): Promise<void> {
  await job.target.query(
    `UPDATE drover.copy SET state = 'done', error = NULL, updated_at = now() WHERE tenant = $1`,
    [job.tenant],
  );
}

/** Why the last attempt ended; with `restart`, the next one begins anew. */
export async function writeFailure(
  target: SessionClient,
  tenant: string,
  failure: { error: string; restart: boolean },
): Promise<void> {
  await target.query(
    `UPDATE drover.copy SET error = $2, state = CASE WHEN $3 THEN 'restart' ELSE state END, updated_at = now() WHERE tenant = $1`,
    [tenant, failure.error, failure.restart],
  );
}
