/** The replica follows the stream from where the pass began, leniently up to a barrier; when it has passed that, the pass is over. */
import { cancelled, DroverError, dispositionOf, formatLsn, type Lsn, until } from '@drover/core';
import { emitBarrier, followTenant, readTenantRow } from '@drover/pg';
import type { TenantTable } from '../scope.ts';
import { type Pass, streamOf } from './begin.ts';
import { BeginAnew, MEETING } from './begin-anew.ts';
import { type CopyContext, type Job, report } from './context.ts';
import { readRecord, tableName, writeFollowed } from './record.ts';
import { requireWanted } from './wanted.ts';

/** A replica catches up at its own pace; after this it is said that it does not. The next attempt waits on. */
const TIMEOUT_MS = 10 * 60_000;
const LOOK_EVERY_MS = 50;
/** The placement is looked at once in so many looks at the replica. */
const LOOKS = 10;

/** Every row of the snapshot is at the target. Returns behind the barrier. @throws as {@link waitCaughtUp} */
export async function follow(context: CopyContext, job: Job, pass: Pass): Promise<void> {
  const { tenant, to, placement } = job;
  const { primary, database, epoch } = placement;
  const source = context.admin(primary, database);
  const barrier = await emitBarrier(source, { tenant, id: `copy-${crypto.randomUUID()}` });
  await requireWanted(context, job);
  // Called off, the lock of this copy is gone, and another may be at work.
  if (context.signal.aborted) throw cancelled();
  if (job.tables.some((table) => table.key === null)) await writeFollowed(job);
  const reason = await context.admin(to, database).transaction(async (client) => {
    // Parked while it was copied: the stream has lost what was to follow the copy. Apply says so under this lock.
    await client.query('SELECT FROM drover.tenant WHERE tenant = $1 FOR UPDATE', [tenant]);
    const row = await readTenantRow(client, tenant);
    if (row?.feed === 'parked') return { parked: row.reason };
    await followTenant(client, {
      tenant,
      epoch,
      source: primary,
      feed: 'catchup',
      stream: streamOf(context, job),
      streamSeq: pass.start.n0,
      lenientUntil: barrier,
    });
    return null;
  });
  if (reason !== null) throw await parked(context, job, reason.parked);
  await context.failpoint?.('following');
  await waitCaughtUp(context, job, barrier);
}

/** @throws BeginAnew; DroverError copy.failed (parked, or not in time), internal.cancelled; NotWanted */
export async function waitCaughtUp(context: CopyContext, job: Job, barrier: Lsn): Promise<void> {
  const { tenant, to, placement } = job;
  const pool = context.admin(to, placement.database);
  report(context, job, { phase: 'catching up' });
  let looks = 0;
  await until(
    async () => {
      if (looks++ % LOOKS === 0) await requireWanted(context, job);
      const row = await readTenantRow(pool, tenant);
      const passed = row?.commitLsn != null && row.commitLsn >= barrier;
      if (row?.feed === 'parked') {
        // Behind the barrier counting is strict again: a change of a row that is missing still parks the tenant. The further pass
        // reads that row, and begins before the change.
        if (passed && ((await readRecord(job))?.missed.length ?? 0) > 0) return true;
        if (!passed && (await isOfTwoSnapshots(context, job, row.reason)))
          throw new BeginAnew(
            'copy.failed',
            `rows of ${tenant} that came by two snapshots met each other at ${to}; the copy begins anew`,
          );
        throw await parked(context, job, row.reason);
      }
      return passed ? true : undefined;
    },
    {
      everyMs: LOOK_EVERY_MS,
      timeoutMs: TIMEOUT_MS,
      signal: context.signal,
      onTimeout: () =>
        new DroverError('copy.failed', `${tenant} did not reach ${formatLsn(barrier)} at ${to} in time`, {
          hint: `does apply run for ${to}? \`drover lag\` shows how far it is`,
        }),
    },
  );
}

/**
 * A copy that was taken up again has a table's rows by two snapshots, and apply cannot tell what stands in them (`copied.ts` there): what a row was once may
 * hold a unique value that another one has by now.
 */
async function isOfTwoSnapshots(context: CopyContext, job: Job, reason: string | null): Promise<boolean> {
  const { tenant, to, placement, tables } = job;
  const record = await readRecord(job);
  const isMixed = (table: TenantTable): boolean => {
    const progress = record?.progress[tableName(table)];
    return table.key !== null && progress !== undefined && progress.snapshot === undefined;
  };
  // A further pass replays changes of all tables, of which it has read single rows.
  if (!tables.some(isMixed) && (record?.start.missed ?? null) === null) return false;
  const { rows } = await context.admin(to, placement.database).query(
    `SELECT FROM drover.ledger WHERE tenant = $1 AND source = $2 AND kind = 'poison' AND status = 'open' AND reason = $3
         AND detail ->> 'sqlstate' = ANY ($4) LIMIT 1`,
    [tenant, placement.primary, reason, [...MEETING]],
  );
  return rows.length > 0;
}

/** No retry of a change brings back what a stream has lost: apply says so in the ledger, or by its reason, and only another copy ends it. */
async function parked(context: CopyContext, job: Job, reason: string | null): Promise<DroverError> {
  const { tenant, to, placement } = job;
  const message = `the replica of ${tenant} is parked: ${reason ?? 'no reason on record'}`;
  const { rows } = await context
    .admin(to, placement.database)
    .query(
      `SELECT FROM drover.ledger WHERE tenant = $1 AND source = $2 AND kind = 'resync' AND status = 'open' LIMIT 1`,
      [tenant, placement.primary],
    );
  if (rows.length > 0 || dispositionOf(reason) === 'resync')
    return new BeginAnew('copy.failed', `${message}; the copy begins anew`);
  return new DroverError('copy.failed', message, {
    hint: '`drover ledger list` shows the change; once it is retried or skipped the copy goes on',
  });
}
