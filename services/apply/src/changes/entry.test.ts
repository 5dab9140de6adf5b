import { BlockWriter, type StreamedHeader } from '@drover/block';
import { clusterId, epoch, LSN_ZERO, type Lsn, tenantId } from '@drover/core';
import { expect, it } from 'vitest';
import { toEntry } from './entry.ts';

const PART = { kind: 'part', attempt: 'a', xid: 5, cut: 0, last: true } as const;

function message(streamed?: StreamedHeader) {
  const writer = new BlockWriter();
  writer.begin(9n as Lsn, 0n, 1);
  for (let i = 0; i < 100; i++)
    writer.message(9n as Lsn, 'drover.test', Buffer.from(`${i * 7919} `.repeat(20)));
  const data = writer.finish({
    source: clusterId('east'),
    database: 'app',
    tenant: tenantId('acme'),
    epoch: epoch(1),
    systemId: '1',
    generation: 1,
    firstLsn: 9n as Lsn,
    lastLsn: 9n as Lsn,
    part: 0,
    complete: true,
    commitTimeUs: 0n,
    ...(streamed === undefined ? {} : { streamed }),
  });
  const place = { seq: 7, firstSeq: 7, timeMs: 0, pending: 0, safeLsn: LSN_ZERO, traceparent: undefined };
  return { ...place, token: 'acme', data };
}

it('a block takes up what is stored of it', () => {
  const block = message();
  const { length } = block.data;
  expect(toEntry(block, 'app')).toMatchObject({ kind: 'block', size: length, stored: length, to: 1 });
});

it('a part takes up next to nothing, and says how much there is to write', () => {
  const part = message(PART);
  expect(part.data.length).toBeGreaterThan(500);
  const entry = toEntry(part, 'app');
  expect(entry).toMatchObject({ kind: 'part', block: null, size: 256, stored: part.data.length });
});
