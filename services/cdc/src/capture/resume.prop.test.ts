/**
 * A reader may be killed at any instant and the stream may have lost any number of its last messages: whoever resumes from what the
 * stream says publishes every transaction exactly once, in order, each tenant's share whole (I1, I2, I3, I10).
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  commitOf,
  lives,
  publishedBy,
  type Stream,
  streamOf,
  TENANTS,
  type Transaction,
  transactions,
} from './lives.testing.ts';

function expected(source: readonly Transaction[], tenant: number): string[] {
  return source.flatMap((rows, i) => {
    const mine = rows.flatMap((row, n) => (row === tenant ? [`+items ${i}.${n},${TENANTS[tenant]},x`] : []));
    return mine.length === 0 ? [] : [`begin ${commitOf(i)}`, ...mine];
  });
}

/** A tenant's blocks as one history; parts of a transaction must follow one another without a gap. */
function published(streams: readonly Stream[], tenant: number): string[] {
  const name = TENANTS[tenant]!;
  const history: string[] = [];
  let open: { lsn: bigint; part: number } | null = null;
  for (const block of streamOf(streams, name).blocks) {
    if (block.token !== name) continue;
    if (open !== null)
      expect(block).toMatchObject({ firstLsn: open.lsn, lastLsn: open.lsn, part: open.part + 1 });
    else expect(block.part).toBe(0);
    // A part repeats the begin of its transaction.
    history.push(...(block.part === 0 ? block.records : block.records.slice(1)));
    open = block.complete ? null : { lsn: block.lastLsn, part: block.part };
  }
  expect(open).toBe(null);
  return history;
}

describe('resuming', () => {
  it('publishes every transaction once, in order, whatever was lost and whenever it died', () => {
    fc.assert(
      fc.property(transactions('rows'), lives, (source, all) => {
        const streams = publishedBy(all, source);
        for (const tenant of TENANTS.keys())
          expect(published(streams, tenant)).toEqual(expected(source, tenant));
      }),
      { numRuns: 1500 },
    );
  });
});
