/**
 * Where a schema change stands in a lane, whatever was cut, lost, and read again: behind all rows of earlier transactions, in front of its own
 * rows or marked among them, and its end behind them and before all later ones; each exactly once (I2, I3, I10).
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CHANGE,
  commitOf,
  lives,
  placeOf,
  publishedBy,
  streamOf,
  TENANTS,
  type Transaction,
  transactions,
} from './lives.testing.ts';
import type { ReadBlock } from './source-script.testing.ts';

/** The rows of a tenant with, for each, how many of its transaction's changes the block says it has behind it. */
function rowsOf(blocks: readonly ReadBlock[], tenant: string): string[] {
  const out: string[] = [];
  for (const block of blocks) {
    if (block.token !== tenant) continue;
    let told = '-';
    for (const record of block.records) {
      if (record.startsWith('begin')) told = '-';
      const mark = /^message drover\.ddl\.mark (.*)$/.exec(record)?.[1];
      if (mark !== undefined) told = (JSON.parse(mark) as { told: string }).told;
      if (record.startsWith('+')) out.push(`${record.slice(7).split(',')[0]} ${told}`);
    }
  }
  return out;
}

const hex = (lsn: bigint): string =>
  `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`;

function expectedRows(source: readonly Transaction[], tenant: number): string[] {
  return source.flatMap((rows, i) => {
    let told = '-';
    return rows.flatMap((row, n) => {
      if (row === CHANGE) told = hex(placeOf(i, n));
      return row === tenant ? [`${i}.${n} ${told}`] : [];
    });
  });
}

function checkPlaces(blocks: readonly ReadBlock[], source: readonly Transaction[]): void {
  const own = blocks
    .map((block, index) => ({ block, index }))
    .filter(({ block }) => block.token === '_heartbeat');
  for (const [i, rows] of source.entries()) {
    const lsn = commitOf(i);
    const changes = rows.flatMap((row, n) => (row === CHANGE ? [`${i}.${n}`] : []));
    if (changes.length === 0) continue;
    const mine = own.filter(
      ({ block }) => block.lastLsn === lsn && block.records.some((r) => r.includes('drover.ddl')),
    );
    const told = mine.flatMap(({ block }) =>
      block.records.filter((r) => r.startsWith('message drover.ddl {')),
    );
    expect(told.map((r) => (JSON.parse(r.slice(19)) as { tag: string }).tag)).toEqual(changes);
    const ends = mine.filter(({ block }) =>
      block.records.some((r) => r.startsWith('message drover.ddl.end')),
    );
    expect(ends.length).toBe(1);
    const [first, end] = [mine[0]!.index, ends[0]!.index];
    for (const [index, block] of blocks.entries()) {
      if (block.token.startsWith('_')) continue;
      if (block.lastLsn < lsn) expect(index).toBeLessThan(first);
      else if (block.firstLsn > lsn) expect(index).toBeGreaterThan(end);
      else {
        expect(block.firstLsn).toBe(lsn);
        expect(block.lastLsn).toBe(lsn);
        expect(index).toBeLessThan(end);
      }
    }
  }
}

describe('a schema change in a lane', () => {
  it('stands at its place, once', () => {
    fc.assert(
      fc.property(transactions('rows and schema changes'), lives, (source, all) => {
        const streams = publishedBy(all, source);
        for (const stream of streams) checkPlaces(stream.blocks, source);
        for (const [i, tenant] of TENANTS.entries())
          expect(rowsOf(streamOf(streams, tenant).blocks, tenant)).toEqual(expectedRows(source, i));
      }),
      { numRuns: 500 },
    );
  });
});
