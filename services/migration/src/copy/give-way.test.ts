import { describe, expect, it } from 'vitest';
import { lagOf, waitFor } from './give-way.ts';

describe('a copy', () => {
  it('does not wait while the target keeps up, and in proportion when it does not', () => {
    expect(waitFor(1500, 1000, 100)).toBe(0);
    expect(waitFor(4000, 1000, 100)).toBe(0);
    expect(waitFor(6000, 1000, 100)).toBe(450);
    expect(waitFor(8000, 1000, 100)).toBe(900);
  });

  it('always moves on', () => {
    expect(waitFor(1e9, 1000, 100)).toBe(900);
    expect(waitFor(1e9, 1000, 1e6)).toBe(30_000);
  });
});

describe('the lag of a target', () => {
  it('is that of its slowest main lane, of those that run and have seen a heartbeat', () => {
    const at = (ms: number, error: string | null = null) => ({
      heartbeatAt: new Date(ms).toISOString(),
      error,
    });
    const pipelines = [at(9000), at(7000), at(1000, 'starting'), { heartbeatAt: null, error: null }];
    expect(lagOf(pipelines, 10_000)).toBe(3000);
    expect(lagOf([], 10_000)).toBe(0);
  });
});
