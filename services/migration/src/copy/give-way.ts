/**
 * A copy gives way to what is live at its target: while changes arrive there late, it waits behind each chunk, for up to nine times what the chunk took, so that it
 * still moves. How late they are is the age of the newest heartbeat that the apply worker's main lanes have passed.
 */
import { type Bus, callPaged } from '@drover/bus';
import type { ClusterId } from '@drover/core';

/** What a lag may be beside the time between two heartbeats. */
const LATE_MS = 2000;
const TIMES_MAX = 9;
const WAIT_MS_MAX = 30_000;
/** An answer counts for so long. */
const FRESH_MS = 1000;

/** Milliseconds to wait behind a chunk. Pure. */
export function waitFor(lagMs: number, heartbeatMs: number, tookMs: number): number {
  const allowedMs = LATE_MS + 2 * heartbeatMs;
  if (lagMs <= allowedMs) return 0;
  // The later they are, the longer: nine times at twice what is allowed.
  const times = TIMES_MAX * Math.min(1, lagMs / allowedMs - 1);
  return Math.min(WAIT_MS_MAX, times * tookMs);
}

/** The oldest of the heartbeats that pipelines have passed, as an age; pipelines that have seen none, or do not run, say nothing. Pure. */
export function lagOf(pipelines: readonly unknown[], nowMs: number): number {
  let lagMs = 0;
  for (const pipeline of pipelines) {
    const { heartbeatAt, error } = pipeline as { heartbeatAt?: unknown; error?: unknown };
    if (typeof heartbeatAt === 'string' && error === null)
      lagMs = Math.max(lagMs, nowMs - Date.parse(heartbeatAt));
  }
  return lagMs;
}

export function givesWay(bus: Bus, heartbeatMs: number): (to: ClusterId, tookMs: number) => Promise<number> {
  const known = new Map<ClusterId, { readonly atMs: number; readonly lagMs: number }>();
  return async (to, tookMs) => {
    let lag = known.get(to);
    if (lag === undefined || performance.now() - lag.atMs > FRESH_MS) {
      // A worker that does not answer is not made faster by waiting.
      const pipelines = await callPaged(bus, `apply.${to}.status`, {}, { timeoutMs: 500 }).catch(() => []);
      lag = { atMs: performance.now(), lagMs: lagOf(pipelines, Date.now()) };
      known.set(to, lag);
    }
    return waitFor(lag.lagMs, heartbeatMs, tookMs);
  };
}
