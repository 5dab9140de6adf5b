import type { Placement } from '@drover/catalog';
import { clusterId, epoch, tenantId } from '@drover/core';
import { describe, expect, it } from 'vitest';
import { type AgendaInput, agenda } from './agenda.ts';
import type { Verdict } from './health/judge.ts';

const east = clusterId('east');
const west = clusterId('west');
const north = clusterId('north');

const placement: Placement = {
  tenant: tenantId('acme'),
  epoch: epoch(3),
  epochSeq: 0,
  primary: east,
  database: 'app',
  tier: 'standard',
  replicas: { west: { state: 'live', since: '2026-01-01T00:00:00Z' } },
  state: 'active',
  updatedAt: '2026-01-01T00:00:00Z',
};
const move = {
  id: 'm1',
  from: east,
  to: west,
  nextEpoch: epoch(4),
  startedAt: '2026-01-01T00:00:00Z',
  reason: 'test',
} as const;

function input(placements: Placement[], dead: string[], rest: Partial<AgendaInput> = {}): AgendaInput {
  const verdict = (cluster: string): Verdict => ({
    state: dead.includes(cluster) ? 'dead' : 'up',
    failing: [],
    observers: [],
    forMs: 0,
    score: cluster === 'north' ? 90 : 100,
  });
  return {
    placements,
    verdict,
    auto: true,
    busy: new Set(),
    now: Date.parse('2026-02-01T00:00:00Z'),
    cooldownMs: 60_000,
    ...rest,
  };
}

describe('the agenda of the leader', () => {
  it('is empty while all is well', () => {
    expect(agenda(input([placement], []))).toEqual([]);
  });

  it('fails a dead primary over to the healthiest live replica', () => {
    const p = {
      ...placement,
      replicas: { ...placement.replicas, north: { state: 'live', since: '' } as const },
    };
    expect(agenda(input([p], ['east']))).toMatchObject([{ kind: 'fail', to: west }]);
    expect(agenda(input([p], ['east', 'west']))).toMatchObject([{ kind: 'fail', to: north }]);
  });

  it.each([
    ['auto failover is off', {}, { auto: false }],
    ['somebody works on the tenant', {}, { busy: new Set([placement.tenant]) }],
    ['no replica is live', { replicas: { west: { state: 'copying', since: '' } as const } }, {}],
    [
      'the tenant was failed over a moment ago',
      {
        lastMove: {
          id: 'm0',
          kind: 'failover',
          from: west,
          to: east,
          outcome: 'done',
          endedAt: '2026-01-31T23:59:30Z',
        } as const,
      },
      {},
    ],
  ])('leaves a dead primary alone when %s', (_, change: Partial<Placement>, rest: Partial<AgendaInput>) => {
    expect(agenda(input([{ ...placement, ...change }], ['east'], rest))).toEqual([]);
  });

  it('resumes what has begun, and converts a planned move whose source died before it was closed', () => {
    const moving: Placement = {
      ...placement,
      state: 'moving',
      move: { ...move, kind: 'switchover', step: 'hold' },
    };
    expect(agenda(input([moving], []))).toMatchObject([{ kind: 'switchover' }]);
    expect(agenda(input([moving], ['east']))).toMatchObject([{ kind: 'convert' }]);
    const opening: Placement = { ...moving, move: { ...move, kind: 'switchover', step: 'open' } };
    expect(agenda(input([opening], ['east']))).toMatchObject([{ kind: 'switchover' }]);
    const failing: Placement = { ...moving, move: { ...move, kind: 'failover', step: 'drain' } };
    expect(agenda(input([failing], []))).toMatchObject([{ kind: 'promote' }]);
  });

  it('brings a returned cluster back once it and the primary are up', () => {
    const p = { ...placement, primary: west, replicas: { east: { state: 'returning', since: '' } as const } };
    expect(agenda(input([p], ['east']))).toEqual([]);
    expect(agenda(input([p], []))).toMatchObject([{ kind: 'rejoin', cluster: east }]);
  });
});
