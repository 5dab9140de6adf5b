import { clusterId, epoch, type Lsn } from '@drover/core';
import { describe, expect, it } from 'vitest';
import { decide, type Lane, mayResume, type Seen } from './decide.ts';
import type { TenantState } from './tenant-state.ts';

const row = (more: Partial<TenantState> = {}): TenantState => ({
  tenant: 'a',
  epoch: 5,
  role: 'replica',
  source: 'east',
  feed: 'live',
  systemId: '42',
  generation: 1,
  commitLsn: 100n as Lsn,
  part: 0,
  stream: 'S',
  streamSeq: 10,
  lenientUntil: null,
  skipLsn: null,
  commitTimeMs: null,
  reason: null,
  ...more,
});

const block = (more: Partial<Seen['header']> = {}, seq = 11): Seen => ({
  header: {
    source: clusterId('east'),
    epoch: epoch(5),
    systemId: '42',
    generation: 1,
    lastLsn: 200n as Lsn,
    part: 0,
    complete: true,
    ...more,
  },
  stream: 'S',
  seq,
});

describe('the decision table', () => {
  it.each<[string, TenantState | undefined, Seen, Lane, string]>([
    ['no row', undefined, block(), 'main', 'absent'],
    ['live in the main lane', row(), block(), 'main', 'apply'],
    ['live in a lane of its own', row(), block(), 'catchup', 'wait'],
    ['catchup in the main lane', row({ feed: 'catchup' }), block(), 'main', 'wait'],
    ['catchup in its lane', row({ feed: 'catchup' }), block(), 'catchup', 'apply'],
    ['copying', row({ feed: 'copying' }), block(), 'main', 'wait'],
    ['held', row({ feed: 'held' }), block(), 'main', 'wait'],
    ['parked', row({ feed: 'parked' }), block(), 'main', 'wait'],
    ['a message looked at before', row(), block({}, 10), 'main', 'already'],
    [
      'a position passed before',
      row({ stream: 'other' }),
      block({ lastLsn: 100n as Lsn }),
      'main',
      'already',
    ],
    [
      'a position of another server',
      row({ stream: 'T' }),
      block({ lastLsn: 50n as Lsn, systemId: '7' }),
      'main',
      'resync',
    ],
    ['a later generation of the slot', row(), block({ generation: 2 }), 'main', 'resync'],
    ['an earlier generation of the slot', row({ generation: 2 }), block(), 'main', 'already'],
    [
      'nothing known of the source yet',
      row({ systemId: null, generation: null, commitLsn: null }),
      block(),
      'main',
      'apply',
    ],
    ['an older epoch', row(), block({ epoch: epoch(4) }), 'main', 'stale'],
    [
      'an older epoch, whatever the feed',
      row({ feed: 'parked' }),
      block({ epoch: epoch(4) }),
      'main',
      'stale',
    ],
    [
      'an older epoch, applied before',
      row(),
      block({ epoch: epoch(4), lastLsn: 99n as Lsn }),
      'main',
      'already',
    ],
    ['a newer epoch', row(), block({ epoch: epoch(6) }), 'main', 'hold'],
    [
      'a newer epoch at a primary',
      row({ role: 'primary', feed: null, source: null }),
      block({ epoch: epoch(6) }),
      'main',
      'hold',
    ],
    [
      'the primary of this epoch',
      row({ role: 'primary', feed: null, source: null }),
      block(),
      'main',
      'stale',
    ],
    ['another source in the same epoch', row({ source: 'north' }), block(), 'main', 'stale'],
    ['the first of several parts', row(), block({ complete: false }), 'main', 'demote'],
    ['the last of several parts', row(), block({ part: 3 }), 'main', 'demote'],
    ['parts in the lane', row({ feed: 'catchup' }), block({ complete: false }), 'catchup', 'apply'],
  ])('%s', (_, state, seen, lane, kind) => {
    expect(decide(state, seen, lane).kind).toBe(kind);
  });

  it('applies nothing but what a replica of this source and epoch has not had', () => {
    for (const role of ['primary', 'replica'] as const)
      for (const feed of ['copying', 'catchup', 'live', 'held', 'parked', null] as const)
        for (const source of ['east', 'north', null])
          for (const e of [4, 5, 6])
            for (const lane of ['main', 'catchup'] as const)
              for (const seq of [10, 11])
                for (const lsn of [100n, 101n]) {
                  const seen = block({ epoch: epoch(e), lastLsn: lsn as Lsn }, seq);
                  const { kind } = decide(row({ role, feed, source }), seen, lane);
                  const may = role === 'replica' && source === 'east' && e === 5 && seq > 10 && lsn > 100n;
                  const fed = feed === (lane === 'main' ? 'live' : 'catchup');
                  expect(kind === 'apply').toBe(may && fed);
                }
  });
});

describe('a held tenant', () => {
  it('goes on when its row has followed', () => {
    expect(mayResume(row({ feed: 'held', reason: 'epoch:6' }))).toBe(false);
    expect(mayResume(row({ feed: 'held', reason: 'epoch:6', epoch: 6 }))).toBe(true);
    expect(mayResume(row({ feed: 'held', reason: 'pause:x', epoch: 6 }))).toBe(false);
    expect(mayResume(row({ feed: 'parked', reason: 'epoch:5' }))).toBe(false);
  });
});
