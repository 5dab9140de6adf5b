import { LSN_ZERO, type Lsn } from '@drover/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { at } from './bus.testing.ts';
import { FlushGroups } from './flush-groups.ts';

/** Groups as a reader makes them: each says how far everything is in earlier groups, and how high its own marks go. */
const groups = fc.array(
  fc.record({ size: fc.integer({ min: 1, max: 5 }), safe: fc.nat(100), max: fc.nat(120) }),
  {
    maxLength: 400,
  },
);

describe('the first sequence of a group', () => {
  it('leaves no message out whose mark lies above the safe LSN', () => {
    fc.assert(
      fc.property(groups, (given) => {
        const flush = new FlushGroups();
        const before: { firstSeq: number; maxLsn: Lsn }[] = [];
        let seq = 1;
        let safe = 0;
        for (const group of given) {
          safe = Math.max(safe, group.safe); // never goes back
          const maxLsn = at(group.max);
          const from = flush.begin('o', { firstSeq: seq, safeLsn: at(safe), maxLsn });
          expect(from).toBeLessThanOrEqual(seq);
          for (const earlier of before) {
            if (earlier.maxLsn > at(safe)) expect(from).toBeLessThanOrEqual(earlier.firstSeq);
          }
          before.push({ firstSeq: seq, maxLsn });
          seq += group.size;
        }
      }),
    );
  });

  it('reaches back no further than needed', () => {
    const flush = new FlushGroups();
    const begin = (firstSeq: number, safe: number, max: number) =>
      flush.begin('o', { firstSeq, safeLsn: at(safe), maxLsn: at(max) });
    expect(begin(1, 0, 10)).toBe(1);
    expect(begin(2, 10, 20)).toBe(2);
    expect(begin(3, 10, 15)).toBe(2); // 20 is above 10
    expect(begin(4, 19, 30)).toBe(2);
    expect(begin(5, 20, 40)).toBe(4);
    expect(begin(6, 40, 50)).toBe(6);
  });

  it('goes on behind what the stream held, and keeps sources apart', () => {
    const flush = new FlushGroups();
    flush.resume('o', 7, at(90));
    expect(flush.begin('o', { firstSeq: 20, safeLsn: at(50), maxLsn: at(60) })).toBe(7);
    expect(flush.begin('other', { firstSeq: 21, safeLsn: LSN_ZERO, maxLsn: at(5) })).toBe(21);
    expect(flush.begin('o', { firstSeq: 22, safeLsn: at(90), maxLsn: at(95) })).toBe(22);
  });

  it('stays bounded when the safe LSN never moves', () => {
    const flush = new FlushGroups();
    for (let seq = 1; seq < 10_000; seq++) {
      expect(flush.begin('o', { firstSeq: seq, safeLsn: at(1), maxLsn: at(seq + 1) })).toBe(1);
    }
    expect(flush.begin('o', { firstSeq: 10_000, safeLsn: at(10_001), maxLsn: at(10_002) })).toBe(10_000);
  });
});
