/** Subject, stream and bucket names: a contract with everything that reads the bus. */
import type { ClusterId } from '@drover/core';

/** Token of heartbeats and of barriers for every tenant of a partition; no tenant's token starts with an underscore but `_shared`. */
export const HEARTBEAT_TOKEN = '_heartbeat';
/** Token of the empty messages with which a publisher shuts its predecessors out; see `fence.ts`. */
export const FENCE_TOKEN = '_fence';

/** Token of profiles (`@drover/block`), which blocks behind them name by their sequence: fetched when needed, and passed over by whoever reads in order. */
export const PROFILE_TOKEN = '_profile';

/** Not for readers in order. */
export function isAside(token: string | undefined): boolean {
  return token === FENCE_TOKEN || token === PROFILE_TOKEN;
}

export function streamName(cluster: ClusterId, partition: number): string {
  return `DROVER_CDC_${cluster}_${partition}`;
}

/** `token` is a tenant's token (core's `tenantToken`) or one of ours: {@link HEARTBEAT_TOKEN}, {@link FENCE_TOKEN}, {@link PROFILE_TOKEN}. */
export function subjectOf(cluster: ClusterId, partition: number, token: string): string {
  return `drover.cdc.${cluster}.${partition}.${token}`;
}

/** The token of a subject of {@link subjectOf}. */
export function parseSubject(
  subject: string,
): { cluster: string; partition: number; token: string } | undefined {
  const [a, b, cluster, partition, token, more] = subject.split('.');
  if (a !== 'drover' || b !== 'cdc' || cluster === undefined || partition === undefined) return undefined;
  if (token === undefined || more !== undefined || !/^\d+$/.test(partition)) return undefined;
  return { cluster, partition: Number(partition), token };
}
