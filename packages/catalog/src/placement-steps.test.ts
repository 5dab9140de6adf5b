import { clusterId, DroverError, epoch, tenantId } from '@drover/core';
import { describe, expect, it } from 'vitest';
import type { Placement } from './placement.ts';
import {
  abortMove,
  advanceMove,
  beginAbort,
  beginFailover,
  beginSwitchover,
  convertToFailover,
  finishMove,
} from './placement-steps.ts';

const east = clusterId('east');
const west = clusterId('west');
const active: Placement = {
  tenant: tenantId('acme'),
  epoch: epoch(7),
  epochSeq: 3,
  primary: east,
  database: 'app',
  tier: 'standard',
  replicas: { west: { state: 'live', since: '2026-01-01T00:00:00.000Z' } },
  state: 'active',
  updatedAt: '2026-01-01T00:00:00.000Z',
};
const request = { id: 'm1', to: west, reason: 'test' };
const at = (p: Placement, ...steps: ('close' | 'drain' | 'open')[]) =>
  steps.reduce(
    (q, step) =>
      advanceMove(q, step, { drain: { barrierLsn: '0/1' }, open: { openSeq: 41 }, close: {} }[step]),
    p,
  );

describe('a switch-over', () => {
  it('walks hold, close, drain, open and ends under the next epoch with the roles exchanged', () => {
    const done = finishMove(at(beginSwitchover(active, request), 'close', 'drain', 'open'), { holdMs: 5 });
    expect(done).toMatchObject({
      epoch: 8,
      epochSeq: 41,
      primary: west,
      state: 'active',
      replicas: { east: { state: 'live' } },
    });
    expect(done.replicas['west']).toBeUndefined();
    expect(done.move).toBeUndefined();
    expect(done.lastMove).toMatchObject({ id: 'm1', outcome: 'done', holdMs: 5 });
  });

  it('never skips, repeats or goes back a step', () => {
    const held = beginSwitchover(active, request);
    expect(() => advanceMove(held, 'drain', { barrierLsn: '0/1' })).toThrow(DroverError);
    expect(() => advanceMove(at(held, 'close'), 'close')).toThrow(DroverError);
    expect(() => advanceMove(at(held, 'close'), 'drain')).toThrow(/barrier/);
    expect(() => finishMove(at(held, 'close'), { holdMs: 0 })).toThrow(DroverError);
  });

  it('is refused while another move runs, without a live replica, and to where the tenant is', () => {
    expect(() => beginSwitchover(beginSwitchover(active, request), request)).toThrow(/is being moved/);
    expect(() =>
      beginSwitchover({ ...active, replicas: { west: { state: 'copying', since: '' } } }, request),
    ).toThrow(/copying/);
    expect(() => beginSwitchover({ ...active, replicas: {} }, request)).toThrow(/none/);
    expect(() => beginSwitchover(active, { ...request, to: east })).toThrow(/already/);
  });

  it('can be called off until it opens, and then goes on under its epoch', () => {
    const held = beginSwitchover(active, request);
    for (const moving of [held, at(held, 'close'), at(held, 'close', 'drain')]) {
      const aborting = beginAbort(moving, 'x');
      expect(() => advanceMove(aborting, 'open', { openSeq: 1 })).toThrow(DroverError);
      expect(() => beginAbort(aborting, 'y')).toThrow(DroverError);
      expect(() => abortMove(moving)).toThrow(DroverError);
      const after = abortMove(aborting);
      expect(after).toMatchObject({
        epoch: 7,
        epochSeq: 3,
        primary: east,
        state: 'active',
        lastMove: { outcome: 'aborted', error: 'x' },
      });
      expect(after.move).toBeUndefined();
    }
    expect(() => beginAbort(at(held, 'close', 'drain', 'open'), 'x')).toThrow(DroverError);
    expect(() => beginAbort(beginFailover(active, request), 'x')).toThrow(DroverError);
  });

  it('becomes a failover when its primary dies before the target opens, not later', () => {
    const converted = convertToFailover(beginSwitchover(active, request), 'died');
    expect(converted.move).toMatchObject({ kind: 'failover', step: 'fence', nextEpoch: 8 });
    expect(() =>
      convertToFailover(at(beginSwitchover(active, request), 'close', 'drain', 'open'), 'died'),
    ).toThrow(DroverError);
  });
});

describe('a failover', () => {
  it('leaves the dead cluster as one that must return', () => {
    const fenced = beginFailover(active, request);
    const done = finishMove(advanceMove(advanceMove(fenced, 'drain'), 'open', { openSeq: 9 }), {
      holdMs: 1,
      returning: [east],
    });
    expect(done).toMatchObject({ epoch: 8, primary: west, replicas: { east: { state: 'returning' } } });
  });
});
