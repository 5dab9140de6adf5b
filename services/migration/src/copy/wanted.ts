/** Whether the placement still asks for the copy under way: looked at between chunks and while waiting. */
import { DroverError } from '@drover/core';
import type { CopyContext, Job } from './context.ts';

/** The replica was taken off the placement, or counts as live: there is nothing more to do, and nothing failed. */
export class NotWanted extends Error {
  override readonly name = 'NotWanted';
}

/** @throws NotWanted; DroverError `copy.failed` when it is wanted from another place or under another epoch */
export async function requireWanted(context: CopyContext, job: Job): Promise<void> {
  const now = (await context.catalog.getPlacement(job.tenant))?.value;
  const replica = now?.replicas[job.to];
  if (now === undefined || replica?.state !== 'copying')
    throw new NotWanted(`${job.tenant} is not to be copied`);
  if (now.epoch !== job.placement.epoch || now.primary !== job.placement.primary) {
    throw new DroverError('copy.failed', `${job.tenant} was moved while it was copied; the copy begins anew`);
  }
  if (replica.since !== job.since)
    throw new DroverError('copy.failed', `the copy of ${job.tenant} was asked for anew`);
}
