/**
 * Lag: now minus the newest source time up to which all of a tenant's changes are applied. That time is the tenant's own last
 * commit, or, for tenants that the main lane feeds, the newest heartbeat that has passed the lane: it stands in the stream
 * behind everything that committed before it. Pure.
 */

export class Freshness {
  #heartbeatMs = 0;

  /** Heartbeats that are replayed after a restart say nothing new. */
  heartbeat(atMs: number): void {
    this.#heartbeatMs = Math.max(this.#heartbeatMs, atMs);
  }

  /** Unix milliseconds at the source; 0: none seen. */
  get heartbeatMs(): number {
    return this.#heartbeatMs;
  }
}

export interface LagInput {
  readonly nowMs: number;
  readonly feed: string | null;
  /** Source commit time of the tenant's newest applied change. */
  readonly commitTimeMs: number | null;
  readonly heartbeatMs: number;
}

/** Seconds, never negative (clocks differ); null while nothing is known. */
export function lagSeconds({ nowMs, feed, commitTimeMs, heartbeatMs }: LagInput): number | null {
  const known = Math.max(commitTimeMs ?? 0, feed === 'live' ? heartbeatMs : 0);
  return known === 0 ? null : Math.max(0, (nowMs - known) / 1000);
}
