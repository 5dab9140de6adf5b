/** Carries out every copy that a placement asks for, some at once; what fails is tried again with a growing pause. */

import { publishEvent } from '@drover/bus';
import type { PlacementView } from '@drover/catalog';
import { Backoff, type ClusterId, describeError, isCancelled, sleep, type TenantId } from '@drover/core';
import { type CopyContext, copyTenant } from './copy-tenant.ts';

export interface CopiesOptions {
  readonly context: CopyContext;
  readonly view: PlacementView;
  readonly parallel: number;
  readonly onRunning: (n: number) => void;
}

interface Job {
  readonly tenant: TenantId;
  readonly to: ClusterId;
}

const LOOK_EVERY_MS = 200;

export async function runCopies(options: CopiesOptions): Promise<void> {
  const { context, view } = options;
  const { signal } = context;
  const slots = Array.from({ length: options.parallel }, (_, i) => i);
  const running = new Map<string, Promise<void>>();
  const resting = new Map<string, { until: number; backoff: Backoff }>();
  while (!signal.aborted) {
    for (const job of wanted(view)) {
      const key = `${job.tenant}/${job.to}`;
      const slot = slots[0];
      if (slot === undefined) break;
      if (running.has(key) || (resting.get(key)?.until ?? 0) > performance.now()) continue;
      slots.shift();
      const work = copyTenant(context, job.tenant, job.to, slot)
        .then(() => void resting.delete(key))
        .catch((error: unknown) => {
          if (isCancelled(error)) return;
          const rest = resting.get(key) ?? { until: 0, backoff: new Backoff(500, 10_000) };
          resting.set(key, { until: performance.now() + rest.backoff.nextMs(), backoff: rest.backoff });
          context.log.warn('copy failed, will be resumed', {
            tenant: job.tenant,
            to: job.to,
            error: describeError(error),
          });
          publishEvent(context.bus, 'copy.progress', { ...job, error: describeError(error) });
        })
        .finally(() => {
          running.delete(key);
          slots.push(slot);
          options.onRunning(running.size);
        });
      running.set(key, work);
      options.onRunning(running.size);
    }
    await sleep(LOOK_EVERY_MS, signal);
  }
  await Promise.all(running.values());
}

function* wanted(view: PlacementView): Generator<Job> {
  for (const placement of view.all()) {
    if (placement.state !== 'active') continue;
    for (const [cluster, replica] of Object.entries(placement.replicas)) {
      if (replica.state === 'copying') yield { tenant: placement.tenant, to: cluster as ClusterId };
    }
  }
}
