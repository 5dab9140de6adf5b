/** Tells the others which barriers have been applied: `drover.applied.<cluster>`, after the commit is durable. */
import type { Bus } from '@drover/bus';
import { type ClusterId, formatLsn } from '@drover/core';
import type { AppliedBarrier } from '../apply/route.ts';

export function announce(
  bus: Bus,
  from: { cluster: ClusterId; source: ClusterId; partition: number; database: string },
  barriers: readonly AppliedBarrier[],
): void {
  for (const { tenant, id, lsn, stale } of barriers) {
    const message = {
      tenant,
      source: from.source,
      lsn: formatLsn(lsn),
      id,
      partition: from.partition,
      database: from.database,
      stale,
    };
    bus.nc.publish(`drover.applied.${from.cluster}`, JSON.stringify(message));
  }
}
