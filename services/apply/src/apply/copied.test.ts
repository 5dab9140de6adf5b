import type { Lsn } from '@drover/core';
import { describe, expect, it } from 'vitest';
import type { TablePlan } from '../target/table-plan.ts';
import type { Slice } from '../write/slice.ts';
import { type Copied, parseSnapshot, sees, withoutCopied } from './copied.ts';

const snapshot = (text: string) => parseSnapshot(text) ?? expect.fail(`${text} is no snapshot`);

describe('a snapshot', () => {
  it('is read as pg_snapshot prints it', () => {
    expect(parseSnapshot('10:20:10,14')).toEqual({ xmin: 10n, xmax: 20n, running: new Set([10n, 14n]) });
    expect(parseSnapshot('10:10:')).toEqual({ xmin: 10n, xmax: 10n, running: new Set() });
    for (const text of ['', '10', '10:20', 'a:b:', '10:20:14,']) expect(parseSnapshot(text)).toBe(null);
  });

  it.each([
    [9, true],
    [10, false],
    [11, true],
    [14, false],
    [19, true],
    [20, false],
    [2 ** 31, false],
    [2 ** 32 - 1, true],
  ])('10:20:10,14 sees %i: %s', (xid, seen) => expect(sees(snapshot('10:20:10,14'), xid)).toBe(seen));

  it('goes on over the wrap of the numbers', () => {
    const after = snapshot(`${2n ** 33n - 2n}:${2n ** 33n + 5n}:${2n ** 33n - 2n},${2n ** 33n + 1n}`);
    const seen = [2 ** 32 - 3, 2 ** 32 - 2, 2 ** 32 - 1, 0, 1, 4, 5, 6].map((xid) => sees(after, xid));
    expect(seen).toEqual([true, false, true, true, false, true, false, false]);
  });
});

const OIDS: Readonly<Record<string, number>> = { keyed: 1, keyless: 2, other: 3 };

describe('changes that a copy has brought', () => {
  const plan = (name: string, key: number[] | null) =>
    ({ key, relation: { oid: OIDS[name], name } }) as unknown as TablePlan;
  const [keyed, keyless, other] = [plan('keyed', [0]), plan('keyless', null), plan('other', null)];
  const transactions = [5, 6, 30, 7].map((xid, i) => ({
    lsn: BigInt(100 + i) as Lsn,
    timeUs: 0n,
    xid,
    from: i * 2,
    to: i * 2 + 2,
    messages: [],
  }));
  const slice = {
    block: { transactions },
    plans: [keyed, keyless, other],
    tenant: 0,
    lenient: true,
    from: 1,
    to: 8,
  } as unknown as Slice;
  const shown = (copied: Copied) =>
    withoutCopied(slice, copied).map(({ plans, from, to }) => [
      from,
      to,
      plans.map((p) => p?.relation.name ?? null),
    ]);

  it('are passed over in tables without a key, by transaction', () => {
    expect(shown({ snapshots: new Map([[2, snapshot('20:20:')]]), applied: null })).toEqual([
      [1, 4, ['keyed', null, 'other']],
      [4, 6, ['keyed', 'keyless', 'other']],
      [6, 8, ['keyed', null, 'other']],
    ]);
  });

  it('and in tables with a key, of which a snapshot is known', () => {
    const snapshots = new Map([[1, snapshot('20:20:')]]);
    expect(shown({ snapshots, applied: 102n as Lsn })).toEqual([
      [1, 4, [null, null, null]],
      [4, 6, ['keyed', null, null]],
      [6, 8, [null, 'keyless', 'other']],
    ]);
  });

  it('as are those that were applied before', () => {
    expect(shown({ snapshots: new Map(), applied: 101n as Lsn })).toEqual([
      [1, 4, ['keyed', null, null]],
      [4, 8, ['keyed', 'keyless', 'other']],
    ]);
  });
});
