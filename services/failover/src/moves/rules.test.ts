import { type Lsn, parseLsn } from '@drover/core';
import type { TenantRow } from '@drover/pg';
import { describe, expect, it } from 'vitest';
import { inFlightBytes, unfit } from './drain.ts';
import { holdsAll } from './open.ts';
import { shareCalls } from './share-calls.ts';

const replica: TenantRow = {
  tenant: 'acme',
  epoch: 3,
  role: 'replica',
  open: false,
  source: 'east',
  feed: 'live',
  systemId: 's',
  generation: 1,
  commitLsn: parseLsn('0/100'),
  part: 0,
  stream: 'S',
  streamSeq: 9,
  lenientUntil: null,
  skipLsn: null,
  commitTime: null,
  reason: null,
  updatedAt: new Date(0),
};
const lsn = (text: string): Lsn => parseLsn(text);

describe('a replica may take over', () => {
  const feeding = { source: 'east' as never, epoch: 3 };
  it.each([
    [replica, undefined],
    [{ ...replica, feed: 'catchup' as const }, undefined],
    [null, 'does not hold the tenant'],
    [
      { ...replica, role: 'primary' as const, source: null, feed: null },
      "is the tenant's primary of epoch 3",
    ],
    [{ ...replica, source: 'north' }, 'follows north, not east'],
    [{ ...replica, epoch: 2 }, 'is at epoch 2, not 3'],
    [{ ...replica, feed: 'parked' as const, reason: 'poison' }, 'is parked: poison'],
    [{ ...replica, feed: 'copying' as const }, 'is copying: no reason on record'],
    [{ ...replica, feed: 'held' as const, reason: 'pause:1' }, 'is held: pause:1'],
  ])('%#: unless it is unfit', (row, why) => expect(unfit(row, feeding)).toBe(why));
});

describe('a replica holds just what the new epoch began with', () => {
  const was = {
    epoch: 3,
    source: 'east' as never,
    exact: true,
    opened: { systemId: 's', generation: 1, commitLsn: lsn('0/100') },
  };
  it.each([
    ['the same', {}, {}, true],
    ['the same, held for the new epoch', { feed: 'held' as const }, {}, true],
    ['less', { commitLsn: lsn('0/FF') }, {}, false],
    ['more, after a failover', { commitLsn: lsn('0/101') }, {}, false],
    [
      'more, after a planned move: nothing was written behind the barrier',
      { commitLsn: lsn('0/101') },
      { exact: false },
      true,
    ],
    ['nothing yet', { commitLsn: null }, {}, false],
    ['a copy that is not complete', { lenientUntil: lsn('0/200') }, {}, false],
    ['a copy that has begun', { feed: 'copying' as const }, {}, false],
    ['positions of another server', { systemId: 'x' }, {}, false],
    ['positions of another slot', { generation: 2 }, {}, false],
    ['what another cluster wrote', { source: 'north' }, {}, false],
    ['an older epoch', { epoch: 2 }, {}, false],
    ['itself the tenant', { role: 'primary' as const }, {}, false],
  ])('%s', (_, row, change, expected) => {
    expect(holdsAll({ ...replica, ...row }, { ...was, ...change })).toBe(expected);
  });
  it('no row', () => expect(holdsAll(null, was)).toBe(false));
});

it('adds up what the reader of each database has in flight', () => {
  expect(inFlightBytes({ databases: [{ inFlightBytes: 3 }, { inFlightBytes: 4 }, {}] })).toBe(7);
  for (const odd of [null, 'x', {}, { databases: 1 }]) expect(inFlightBytes(odd)).toBe(0);
});

describe('a shared call', () => {
  it('answers nobody who asked after it began', async () => {
    const gates: PromiseWithResolvers<number>[] = [];
    const ask = shareCalls(() => {
      const gate = Promise.withResolvers<number>();
      gates.push(gate);
      return gate.promise;
    });
    const first = ask();
    const later = [ask(), ask()];
    expect(gates).toHaveLength(1);
    gates[0]!.resolve(1);
    expect(await first).toBe(1);
    await new Promise(setImmediate);
    expect(gates).toHaveLength(2);
    const latest = ask();
    gates[1]!.resolve(2);
    expect(await Promise.all(later)).toEqual([2, 2]);
    await new Promise(setImmediate);
    gates[2]!.resolve(3);
    expect(await latest).toBe(3);
  });

  it('goes on after a failure, which only those who waited for it see', async () => {
    let n = 0;
    const ask = shareCalls(async () => {
      if (++n === 1) throw new Error('away');
      return n;
    });
    const [first, second] = [ask(), ask()];
    await expect(first).rejects.toThrow('away');
    expect(await second).toBe(2);
    expect(await ask()).toBe(3);
  });
});
