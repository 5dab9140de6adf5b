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
    lacking: [],
  });
  return {
    placements,
    verdict,
    autoOff: undefined,
    busy: new Set(),
    now: Date.parse('2026-02-01T00:00:00Z'),
    cooldownMs: 60_000,
    ...rest,
  };
}

describe('the agenda of the leader', () => {
  it('is empty while all is well', () => {
    expect(agenda(input([placement], []))).toEqual({ tasks: [], refused: [] });
  });

  it('fails a dead primary over to the healthiest live replica', () => {
    const p = {
      ...placement,
      replicas: { ...placement.replicas, north: { state: 'live', since: '' } as const },
    };
    expect(agenda(input([p], ['east'])).tasks).toMatchObject([{ kind: 'fail', candidates: [west, north] }]);
    expect(agenda(input([p], ['east', 'west'])).tasks).toMatchObject([{ kind: 'fail', candidates: [north] }]);
  });

  const cases: [string, Partial<Placement>, Partial<AgendaInput>, string | undefined][] = [
    ['auto failover is off', {}, { autoOff: 'paused by ann' }, 'auto_off: paused by ann'],
    ['somebody works on the tenant', {}, { busy: new Set([placement.tenant]) }, undefined],
    ['it has no replica', { replicas: {} }, {}, 'no_replica: it has no replica'],
    [
      'no replica is live',
      { replicas: { west: { state: 'copying', since: '' } } },
      {},
      'no_replica: no replica can take it over: west is copying',
    ],
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
        },
      },
      {},
      'cooldown: it was failed over a moment ago and stays until 2026-02-01T00:00:30.000Z',
    ],
  ];
  it.each(cases)('leaves a dead primary alone when %s, and says so', (_, change, rest, why) => {
    const { tasks, refused } = agenda(input([{ ...placement, ...change }], ['east'], rest));
    expect(tasks).toEqual([]);
    expect(refused.map((r) => `${r.code}: ${r.why}`)).toEqual(why === undefined ? [] : [why]);
  });

  it('puts failovers before switch-overs before rejoins, and heavier tiers first', () => {
    const named = (name: string, change: Partial<Placement>): Placement => ({
      ...placement,
      tenant: tenantId(name),
      ...change,
    });
    const returning = { east: { state: 'returning', since: '' } as const };
    const all = [
      named('back', { primary: west, replicas: returning }),
      named('asked', {
        primary: west,
        state: 'moving',
        move: { ...move, from: west, to: east, kind: 'switchover', step: 'hold' },
      }),
      named('light', { primary: north, tier: 'light' }),
      named('heavy', { primary: north, tier: 'heavy' }),
    ];
    const weight = (tier: string) => (tier === 'heavy' ? 10 : 1);
    const { tasks } = agenda(input(all, ['north'], { weight }));
    expect(tasks.map((t) => t.placement.tenant)).toEqual(['heavy', 'light', 'asked', 'back']);
  });

  it('resumes what has begun, and converts a planned move whose source died before it was closed', () => {
    const moving: Placement = {
      ...placement,
      state: 'moving',
      move: { ...move, kind: 'switchover', step: 'hold' },
    };
    expect(agenda(input([moving], [])).tasks).toMatchObject([{ kind: 'switchover' }]);
    expect(agenda(input([moving], ['east'])).tasks).toMatchObject([{ kind: 'convert' }]);
    const opening: Placement = { ...moving, move: { ...move, kind: 'switchover', step: 'open' } };
    expect(agenda(input([opening], ['east'])).tasks).toMatchObject([{ kind: 'switchover' }]);
    const failing: Placement = { ...moving, move: { ...move, kind: 'failover', step: 'drain' } };
    expect(agenda(input([failing], [])).tasks).toMatchObject([{ kind: 'promote' }]);
  });

  it('brings a returned cluster back once it and the primary are up', () => {
    const p = { ...placement, primary: west, replicas: { east: { state: 'returning', since: '' } as const } };
    expect(agenda(input([p], ['east'])).tasks).toEqual([]);
    expect(agenda(input([p], [])).tasks).toMatchObject([{ kind: 'rejoin', cluster: east }]);
  });
});
