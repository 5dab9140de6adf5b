import type { Lsn } from '@drover/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AppliedMarks } from './applied-marks.ts';
import { floorOf } from './durable.ts';

const lsn = (n: number) => BigInt(n) as Lsn;

describe('marks of what is applied', () => {
  it('hold for whoever has dealt with everything before the message', () => {
    const marks = new AppliedMarks();
    marks.note(10, lsn(100));
    marks.note(11, lsn(100)); // of the same group
    marks.note(20, lsn(200));
    expect(marks.take(8)).toBeNull();
    expect(marks.take(18)).toEqual({ seq: 9, lsn: 100n });
    expect(marks.take(18)).toBeNull();
    expect(marks.take(19)).toEqual({ seq: 19, lsn: 200n });
  });

  it('never promise more than the messages said, and stay bounded', () => {
    const message = fc.record({
      seqs: fc.integer({ min: 1, max: 5 }),
      lsns: fc.nat({ max: 9 }),
      take: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(message, { maxLength: 3000 }), (steps) => {
        const marks = new AppliedMarks();
        const said: { seq: number; lsn: bigint }[] = [];
        let seq = 1;
        let at = 0n;
        for (const { seqs, lsns, take } of steps) {
          seq += seqs;
          at += BigInt(lsns);
          marks.note(seq, at as Lsn);
          said.push({ seq: seq - 1, lsn: at });
          expect(marks.size).toBeLessThanOrEqual(1025);
          if (!take) continue;
          const floor = seq - 3;
          const found = marks.take(floor);
          const most = said.filter((s) => s.seq <= floor).at(-1);
          if (found !== null) expect(found.lsn <= (most?.lsn ?? -1n)).toBe(true);
        }
      }),
      { numRuns: 30 },
    );
  });
});

describe('up to where everybody has come', () => {
  const pipeline = { source: 'east', partition: 0, stream: 'S' };
  const waiting = (more: object) => ({
    tenant: 'acme',
    feed: 'catchup',
    source: 'east',
    stream: 'S',
    stream_seq: 40,
    ...more,
  });

  it('is the position, or the tenant that is behind it', () => {
    expect(floorOf(pipeline, 90, [], 1)).toEqual({ seq: 90, waitingFor: null });
    expect(floorOf(pipeline, 90, [waiting({})], 1)).toEqual({ seq: 40, waitingFor: 'acme (catchup)' });
    expect(floorOf(pipeline, 30, [waiting({})], 1)).toEqual({ seq: 30, waitingFor: null });
  });

  it('is nothing while a tenant reads from the beginning, and what waits for a newer epoch counts', () => {
    expect(floorOf(pipeline, 90, [waiting({ stream: null, stream_seq: null })], 1).seq).toBe(0);
    const marked = waiting({ source: null, feed: null, stream_seq: 70 });
    expect(floorOf(pipeline, 90, [marked], 1)).toEqual({ seq: 70, waitingFor: 'acme (a newer epoch)' });
  });

  it('leaves out those of other sources and partitions', () => {
    expect(floorOf(pipeline, 90, [waiting({ source: 'west', stream: 'W' })], 1).seq).toBe(90);
    expect(floorOf({ ...pipeline, partition: 8 }, 90, [waiting({ stream: 'T' })], 8).seq).toBe(90);
  });
});
