import { clusterId } from '@drover/core';
import { describe, expect, it } from 'vitest';
import { ClusterHealth, type Observation, type SignalState } from './judge.ts';

const east = clusterId('east');
const policy = { minSignals: 3, minObservers: 2, graceMs: 3000, staleMs: 2000 };
const report = (kind: string, signals: Record<string, SignalState>, id = '1'): Observation => ({
  observer: `${kind}-${id}`,
  kind,
  cluster: east,
  signals,
});

/** Every observer sees the cluster gone, once each 500 ms from `from` to `to`. */
function allFail(health: ClusterHealth, from: number, to: number): void {
  for (let now = from; now <= to; now += 500) {
    health.observe(report('proxy', { connect: 'fail', query: 'fail' }), now);
    health.observe(report('cdc', { stream: 'fail', query: 'fail' }), now);
    health.observe(report('apply', { connect: 'fail', write: 'fail' }), now);
  }
}

describe('the verdict over a cluster', () => {
  it('is dead after the grace time when three signals fail for two observers', () => {
    const health = new ClusterHealth(policy);
    allFail(health, 0, 2500);
    expect(health.judge(east, 2500).state).toBe('suspect');
    allFail(health, 3000, 3000);
    const verdict = health.judge(east, 3000);
    expect(verdict.state).toBe('dead');
    expect(verdict.failing).toContain('cdc.stream');
  });

  it('stays suspect while anybody still works on the cluster', () => {
    const health = new ClusterHealth(policy);
    for (let now = 0; now <= 20_000; now += 500) {
      allFail(health, now, now);
      health.observe(report('failover', { connect: 'ok' }), now);
    }
    expect(health.judge(east, 20_000).state).toBe('suspect');
  });

  it('does not believe one observer, whatever it sees', () => {
    const health = new ClusterHealth(policy);
    for (let now = 0; now <= 20_000; now += 500) {
      health.observe(report('proxy', { connect: 'fail', query: 'fail', write: 'fail', stream: 'fail' }), now);
    }
    expect(health.judge(east, 20_000).state).toBe('suspect');
  });

  it('starts the grace time anew after a blip (30 blips, no verdict)', () => {
    const health = new ClusterHealth(policy);
    for (let blip = 0; blip < 30; blip++) {
      const at = blip * 4000;
      allFail(health, at, at + 2000);
      health.observe(report('proxy', { connect: 'ok', query: 'ok' }), at + 2500);
      expect(health.judge(east, at + 2500).state).not.toBe('dead');
    }
  });

  it('says what is lacking for a verdict', () => {
    const health = new ClusterHealth(policy);
    health.observe(report('proxy', { connect: 'fail' }), 0);
    expect(health.judge(east, 0)).toMatchObject({
      state: 'suspect',
      lacking: ['1 of 3 signals fail', '1 of 2 observers see it'],
    });
    health.observe(report('apply', { connect: 'ok' }), 0);
    expect(health.judge(east, 0).lacking).toContain('it still works for apply-1');
    allFail(health, 100, 100);
    expect(health.judge(east, 100).lacking).toEqual(['it has lasted 0 of 3000 ms']);
  });

  it('keeps nothing of observers that are gone, and counts only what it knows as a failure', () => {
    const health = new ClusterHealth(policy);
    for (let i = 0; i < 50; i++) health.observe(report('proxy', { connect: 'fail' }, String(i)), i * 10_000);
    expect(health.judge(east, 490_000).observers).toEqual(['proxy-49']);
    health.observe(report('cdc', { a: 'odd', b: 'unknown' } as never), 490_000);
    expect(health.judge(east, 490_000).failing).toEqual(['proxy.connect']);
  });

  it('forgets stale observations: silence is not death', () => {
    const health = new ClusterHealth(policy);
    allFail(health, 0, 2500);
    expect(health.judge(east, 60_000).state).toBe('unknown');
  });
});
