/** Rows of a part, by subtransaction. */
import { BlockWriter, readHeader } from '@drover/block';
import { clusterId, epoch, type Lsn, tenantId } from '@drover/core';
import { describe, expect, test } from 'vitest';
import { type DecodedBlock, decodeBlock } from '../changes/decoded-block.ts';
import { committedAt, runsOf, withoutRolledBack } from './part-rows.ts';

const ITEMS = {
  oid: 1,
  schema: 'public',
  name: 'items',
  identity: 'd' as const,
  columns: [{ name: 'id', typeOid: 25, typmod: -1, key: true }],
};
const META = {
  source: clusterId('east'),
  database: 'app',
  tenant: tenantId('acme'),
  epoch: epoch(1),
  systemId: '7',
  generation: 1,
  firstLsn: 0n as Lsn,
  lastLsn: 0n as Lsn,
  part: 0,
  complete: true,
  commitTimeUs: 0n,
  streamed: { kind: 'part' as const, attempt: 'a', xid: 5, cut: 0, last: true },
};

/** A number begins the run of a subtransaction, a text is a row, `-` a truncate. */
function part(...content: (number | string)[]): DecodedBlock {
  const writer = new BlockWriter();
  writer.begin(0n as Lsn, 0n, 5);
  let run = 0;
  for (const one of content) {
    if (typeof one === 'number') {
      writer.message(0n as Lsn, 'drover.run', Buffer.from(JSON.stringify({ n: ++run, x: one })));
    } else if (one === '-') writer.truncate([writer.relation(ITEMS)], 0);
    else {
      const length = Buffer.from([0, 1, 0x74, 0, 0, 0, one.length]);
      const tuple = Buffer.concat([length, Buffer.from(one)]);
      writer.insert(writer.relation(ITEMS), tuple, 0, tuple.length);
    }
  }
  const block = writer.finish(META);
  return decodeBlock(block, readHeader(block));
}

function show(block: DecodedBlock): string {
  return Array.from({ length: block.count }, (_, i) => {
    if (block.truncates.has(i)) return '-';
    return block.bytes.toString('utf8', (block.at[i * 4 + 2] ?? 0) + 7, block.at[i * 4 + 3]);
  }).join(' ');
}

describe('a part', () => {
  test('tells which rows are whose', () => {
    const runs = runsOf(part(5, 'a', 'b', 6, 'c', 5, 'd')).map(({ subxid, from, to }) => [subxid, from, to]);
    expect(runs).toEqual([
      [5, 0, 2],
      [6, 2, 3],
      [5, 3, 4],
    ]);
  });

  test('that does not is refused', () => {
    expect(() => runsOf(part('a', 5, 'b'))).toThrow(/whose its rows are/);
  });

  test('is left without what was rolled back', () => {
    const block = part(5, 'a', 'b', 6, 'c', '-', 7, 'd', 5, '-', 'e', 6, 'f');
    expect(show(withoutRolledBack(block, new Set([6])))).toBe('a b d - e');
    expect(show(withoutRolledBack(block, new Set([5, 7])))).toBe('c - f');
    expect(show(withoutRolledBack(block, new Set([5, 6, 7])))).toBe('');
    expect(withoutRolledBack(block, new Set([8]))).toBe(block);
  });

  test('stands where its transaction has committed', () => {
    const [tx, ...more] = committedAt(withoutRolledBack(part(5, 'a', 6, 'b'), new Set([5])), {
      lsn: 77n as Lsn,
      timeUs: 9n,
      xid: 5,
    }).transactions;
    expect(more).toEqual([]);
    expect(tx).toEqual({ lsn: 77n, timeUs: 9n, xid: 5, from: 0, to: 1, messages: [] });
  });
});
