import { LSN_MAX, type Lsn } from '@drover/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Confirmer, confirmable } from './confirm.ts';

const lsn = (n: number) => BigInt(n) as Lsn;
const QUIET = {
  openCommit: null,
  firstPending: null,
  lastEnd: lsn(50),
  keepaliveEnd: lsn(0),
  received: lsn(1000),
  applied: LSN_MAX,
};

describe('what may be confirmed', () => {
  it('is all that was sent while nothing is pending', () => {
    expect(confirmable(QUIET)).toBe(50n);
    expect(confirmable({ ...QUIET, keepaliveEnd: lsn(90) })).toBe(90n);
  });

  it('is never beyond a transaction that is not acknowledged, whatever a keepalive says', () => {
    expect(confirmable({ ...QUIET, keepaliveEnd: lsn(90), firstPending: lsn(40) })).toBe(40n);
  });

  it('is never beyond the transaction being received', () => {
    expect(confirmable({ ...QUIET, keepaliveEnd: lsn(90), openCommit: lsn(60) })).toBe(60n);
    expect(confirmable({ ...QUIET, firstPending: lsn(40), openCommit: lsn(60) })).toBe(40n);
  });

  it('is never beyond what was received', () => {
    expect(confirmable({ ...QUIET, openCommit: lsn(2000) })).toBe(1000n);
  });

  it('is never beyond what those have applied who are waited for', () => {
    expect(confirmable({ ...QUIET, keepaliveEnd: lsn(90), applied: lsn(30) })).toBe(30n);
    expect(new Confirmer().next({ ...QUIET, applied: lsn(0) })).toBeNull();
  });

  it('only grows, and never passes the first pending transaction', () => {
    const n = fc.nat({ max: 100 }).map(lsn);
    const state = fc.record({
      openCommit: fc.option(n),
      firstPending: fc.option(n),
      lastEnd: n,
      keepaliveEnd: n,
      received: n,
      applied: n,
    });
    fc.assert(
      fc.property(fc.array(state), (states) => {
        const confirmer = new Confirmer();
        let last = 0n;
        for (const one of states) {
          const next = confirmer.next(one);
          if (next === null) continue;
          expect(next).toBeGreaterThan(last);
          for (const bound of [one.openCommit, one.firstPending, one.received, one.applied]) {
            if (bound !== null) expect(next <= bound).toBe(true);
          }
          last = next;
        }
      }),
    );
  });
});
