/**
 * The first copy of a tenant to a cluster, and the copy anew of one that must be mended. The order argument stands in
 * docs/architecture.md ("First copy"): N0, snapshot, chunks, barrier B1, catch-up from N0 with leniency up to B1, live.
 * Whatever stops it, calling again goes on (I10).
 */
import { type ClusterId, cancelled, DroverError, describeError, type TenantId } from '@drover/core';
import { rulesOfTenant } from '../ruled.ts';
import { tenantTables } from '../scope.ts';
import { requireSameShape } from '../shape.ts';
import { beginPass, type Pass, readLeft, timelineOf } from './begin.ts';
import { BeginAnew, MEETING } from './begin-anew.ts';
import { follow, waitCaughtUp } from './catch-up.ts';
import { type CopyContext, type Job, report } from './context.ts';
import { copyTables } from './copy-tables.ts';
import type { MissedRow } from './missed.ts';
import { readRecord, writeDone, writeFailure } from './record.ts';
import { openSnapshot } from './snapshot.ts';
import { Tally } from './tally.ts';
import { openTarget } from './target.ts';
import { requireUnchanged } from './unchanged.ts';
import { NotWanted } from './wanted.ts';

export type { CopyContext } from './context.ts';

/** Runs or resumes the copy until the replica is live, or is not wanted any more. @throws what stopped it */
export async function copyTenant(
  context: CopyContext,
  tenant: TenantId,
  to: ClusterId,
  slot: number,
): Promise<void> {
  const placement = (await context.catalog.getPlacement(tenant))?.value;
  const replica = placement?.replicas[to];
  if (placement === undefined || replica?.state !== 'copying') return;
  const { primary, database } = placement;
  const source = context.admin(primary, database);
  const rules = rulesOfTenant(context.rules, placement, to);
  const tablesNow = () => tenantTables(source, context.tagging, database, tenant, rules);
  const tables = await tablesNow();
  const target = context.admin(to, database);
  await requireSameShape({ source, target, to }, context.tagging, tables, 'copy.failed');
  const session = await openTarget(context.apply(to, database), { tenant, slot, signal: context.signal });
  const job: Job = {
    tenant,
    to,
    placement,
    since: replica.since,
    tables,
    tablesNow,
    target: session.client,
    tally: new Tally(),
  };
  try {
    await bringOver(context, job);
    await becomeLive(context, job);
  } catch (error) {
    if (context.signal.aborted) throw cancelled();
    if (error instanceof NotWanted) return;
    await noteFailure(job, error);
    throw error;
  } finally {
    await session.close();
  }
}

/** Passes until nothing is missing. */
async function bringOver(context: CopyContext, job: Job): Promise<void> {
  const left = await readLeft(context, job);
  switch (left.kind) {
    case 'everything':
      return;
    case 'rows':
      await waitCaughtUp(context, job, left.barrier);
      break;
    case 'chunks':
      await carryOut(context, job, left.pass);
      break;
    case 'nothing':
      await carryOut(context, job, await beginPass(context, job, null));
      break;
  }
  for (let missed = await missedOf(job); missed.length > 0; missed = await missedOf(job)) {
    report(context, job, { phase: `reading ${missed.length} rows again` });
    await context.failpoint?.('noted');
    await carryOut(context, job, await beginPass(context, job, missed));
  }
  const timeline = (await readRecord(job))?.start.timeline;
  if (timeline !== (await timelineOf(context, job)))
    throw new BeginAnew(
      'copy.failed',
      `${job.placement.primary} was promoted meanwhile; the copy begins anew`,
    );
  await writeDone(job);
  await context.failpoint?.('done');
}

/** Snapshot, chunks, barrier, catch-up. */
async function carryOut(context: CopyContext, job: Job, pass: Pass): Promise<void> {
  await context.failpoint?.('prepared');
  const { primary, database } = job.placement;
  const { tenant, tables } = job;
  const { signal } = context;
  const reader = await openSnapshot(context.admin(primary, database), {
    tenant,
    tables,
    signal,
    onWaiting: (n) => report(context, job, { phase: `waiting for ${n} transactions at ${primary} to end` }),
  });
  try {
    await requireUnchanged(job);
    await copyTables(context, job, pass, reader.client);
  } finally {
    await reader.close();
  }
  await context.failpoint?.('copied');
  await follow(context, job, pass);
}

/** Rows that the stream could not make whole meanwhile. */
async function missedOf(job: Job): Promise<readonly MissedRow[]> {
  return (await readRecord(job))?.missed ?? [];
}

async function becomeLive(context: CopyContext, job: Job): Promise<void> {
  const { tenant, to } = job;
  let live = false;
  await context.catalog.changePlacement(tenant, (p) => {
    const replica = p.replicas[to];
    live =
      replica?.state === 'copying' &&
      replica.since === job.since &&
      p.primary === job.placement.primary &&
      p.epoch === job.placement.epoch;
    if (!live) return null;
    const since = new Date().toISOString();
    return { ...p, replicas: { ...p.replicas, [to]: { state: 'live', since } }, updatedAt: since };
  });
  if (live) report(context, job, { phase: 'live' });
}

/** Rows that met each other from two snapshots, and a stream without its past: the copy begins anew, with one snapshot. */
async function noteFailure(job: Job, error: unknown): Promise<void> {
  const restart =
    error instanceof BeginAnew || (error instanceof DroverError && MEETING.has(error.facts['sqlstate']));
  const { detail } = (error as { cause?: { detail?: unknown } }).cause ?? {};
  const text = `${describeError(error)}${typeof detail === 'string' ? `: ${detail}` : ''}`;
  // The session may be what was lost: then the record stays as it is, and the next attempt finds out again.
  await writeFailure(job.target, job.tenant, { error: text, restart }).catch(() => undefined);
}
