import { describe, expect, it } from 'vitest';
import { Freshness, lagSeconds } from './freshness.ts';

describe('lag', () => {
  const base = { nowMs: 100_000, feed: 'live', commitTimeMs: null, heartbeatMs: 0 };
  it('is unknown while nothing has been applied and no heartbeat seen', () => {
    expect(lagSeconds(base)).toBe(null);
  });
  it('counts from the newest of own commit and heartbeat', () => {
    expect(lagSeconds({ ...base, commitTimeMs: 90_000, heartbeatMs: 98_000 })).toBe(2);
    expect(lagSeconds({ ...base, commitTimeMs: 99_500, heartbeatMs: 98_000 })).toBe(0.5);
  });
  it('does not believe the heartbeat for tenants that the main lane does not feed', () => {
    expect(lagSeconds({ ...base, feed: 'parked', commitTimeMs: 40_000, heartbeatMs: 99_000 })).toBe(60);
  });
  it('is never negative when clocks differ', () => {
    expect(lagSeconds({ ...base, heartbeatMs: 105_000 })).toBe(0);
  });
  it('ignores heartbeats that are replayed', () => {
    const fresh = new Freshness();
    fresh.heartbeat(50);
    fresh.heartbeat(20);
    expect(fresh.heartbeatMs).toBe(50);
  });
});
