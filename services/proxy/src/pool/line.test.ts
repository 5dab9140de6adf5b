import { expect, test } from 'vitest';
import { Line, type Share } from './line.ts';

interface Waiter {
  readonly tenant: string;
  readonly n: number;
}
const a = (n: number): Waiter => ({ tenant: 'a', n });
const b = (n: number): Waiter => ({ tenant: 'b', n });

/** A line in which each tenant has so many backends at work, and a backend of `own` has just become free. */
function lineOf(busy: Readonly<Record<string, number>>, ...waiters: readonly Waiter[]) {
  const line = new Line<Waiter>();
  for (const [tenant, count] of Object.entries(busy))
    for (let i = 0; i < count; i++) line.begin(line.share(tenant));
  for (const waiter of waiters) line.join(waiter);
  return line;
}

test('one tenant is served first come first served, and who leaves is not called', () => {
  const line = lineOf({}, a(1), a(2), a(3));
  const share = line.share('a');
  const [, second] = share.waiters;
  if (second !== undefined) line.leave(second);
  expect(line.size).toBe(2);
  expect([line.call(share), line.call(share), line.call(share)]).toEqual([a(1), a(3), undefined]);
  expect([line.size, line.turn(null)]).toEqual([0, null]);
});

test.each([
  ['nobody of the tenant waits', { a: 0, b: 1 }, [b(1)], false, false],
  ['only the tenant waits, however long', { a: 0 }, [a(1)], true, true],
  ['its turn lasts and the other has a backend', { a: 0, b: 1 }, [b(1), a(1)], false, true],
  ['its turn is over, the other has more', { a: 0, b: 1 }, [b(1), a(1)], true, true],
  ['its turn is over, the other has as many', { a: 1, b: 1 }, [b(1), a(1)], true, false],
  ['the other has none, it has others', { a: 1, b: 0 }, [b(1), a(1)], false, false],
  ['neither has others, its turn lasts', { a: 0, b: 0 }, [b(1), a(1)], false, true],
  ['neither has others, its turn is over', { a: 0, b: 0 }, [b(1), a(1)], true, false],
])('a free backend stays with its tenant: %s', (_, busy, waiters, turnOver, stays) => {
  const line = lineOf(busy, ...waiters);
  expect(line.stays(line.share('a'), turnOver)).toBe(stays);
});

test('tenants without a backend come first, then the one longest without a turn', () => {
  const line = lineOf({ a: 2, c: 1 }, { tenant: 'c', n: 1 }, { tenant: 'c', n: 2 }, a(1), b(1));
  const turns = [];
  for (let share = line.turn(null); share !== null; share = line.turn(null)) {
    turns.push(line.call(share));
    line.begin(share);
  }
  expect(turns.map((it) => it?.tenant)).toEqual(['b', 'c', 'a', 'c']);
});

test('one that loses its last backend is in need at once', () => {
  const line = lineOf({ a: 1, b: 1 }, a(1), b(1));
  expect(line.turn(null)?.tenant).toBe('a');
  line.end(line.share('b'));
  expect(line.turn(null)?.tenant).toBe('b');
});

test('parts are forgotten when nothing is left of them', () => {
  const line = new Line<Waiter>();
  const share = line.share('a');
  share.backends++;
  line.begin(share);
  line.end(share);
  line.settle(share);
  expect(line.share('a')).toBe(share);
  share.backends--;
  line.settle(share);
  expect(line.share('a')).not.toBe(share);
});

/** Backends that serve at random, tenants that always have clients waiting: the pool's use of the line. */
test('with more tenants than backends none starves, and most hand-overs change no tenant', () => {
  const line = new Line<Waiter>();
  const tenants = Array.from({ length: 12 }, (_, i) => `t${i}`);
  for (const tenant of tenants) for (let n = 0; n < 3; n++) line.join({ tenant, n });
  const backends: { share: Share<Waiter> | null; left: number }[] = Array.from({ length: 4 }, () => ({
    share: null,
    left: 0,
  }));
  const served = new Map<string, number>();
  let changes = 0;
  let seed = 7;
  for (let step = 0; step < 24_000; step++) {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    const backend = backends[seed % 4];
    if (backend === undefined) continue;
    if (backend.share !== null) {
      line.end(backend.share);
      line.join({ tenant: backend.share.tenant, n: step });
    }
    const stays = backend.share !== null && line.stays(backend.share, backend.left <= 0);
    const share = stays ? backend.share : line.turn(backend.share);
    if (share === null) throw new Error('somebody waits');
    if (!stays) {
      changes++;
      backend.left = 20;
    }
    backend.left--;
    backend.share = share;
    expect(line.call(share)?.tenant).toBe(share.tenant);
    line.begin(share);
    served.set(share.tenant, (served.get(share.tenant) ?? 0) + 1);
  }
  expect(changes).toBeLessThan(24_000 / 15);
  for (const tenant of tenants) expect(served.get(tenant), tenant).toBeGreaterThan(24_000 / 12 / 2);
});
