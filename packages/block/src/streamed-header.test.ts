/** What a header says about transactions in progress comes back as it was written, or is refused. */
import { clusterId, epoch, type Lsn, tenantId } from '@drover/core';
import { describe, expect, test } from 'vitest';
import { BlockWriter, isStreamed, readHeader, type StreamedHeader } from './index.ts';

const META = {
  source: clusterId('east'),
  database: 'app',
  tenant: tenantId('acme'),
  epoch: epoch(3),
  systemId: '7300000000000000001',
  generation: 2,
  firstLsn: 0n as Lsn,
  lastLsn: 0n as Lsn,
  part: 7,
  complete: true,
  commitTimeUs: 0n,
};
const of = { attempt: 'a1b2c3d4e5f6', xid: 4_294_967_295 };

const HEADERS: StreamedHeader[] = [
  { kind: 'part', ...of, cut: 3, last: true },
  { kind: 'part', ...of, cut: 0, last: false },
  { kind: 'rollback', ...of, subxid: 4_294_967_294 },
  { kind: 'commit', ...of, parts: 12, fromSeq: 2 ** 40, rollbacks: true },
  { kind: 'together', ...of, tenants: 10_000 },
  { kind: 'session', attempt: 'é'.repeat(100) },
];

describe.each(HEADERS)('$kind', (streamed) => {
  const block = () => {
    const writer = new BlockWriter();
    writer.begin(0n as Lsn, 0n, of.xid);
    return writer.finish({ ...META, streamed });
  };

  test('is read as it was written', () => {
    expect(isStreamed(block())).toBe(true);
    expect(readHeader(block())).toEqual({ ...META, streamed, transactions: 1, changes: 0 });
  });

  test('is refused when cut', () => {
    const whole = block();
    for (let end = 0; end < whole.length; end++)
      expect(() => readHeader(whole.subarray(0, end))).toThrow(/damaged/);
  });
});

test('a block of whole transactions says nothing of the kind', () => {
  const block = new BlockWriter().finish(META);
  expect(isStreamed(block)).toBe(false);
  expect(readHeader(block)).not.toHaveProperty('streamed');
});

test('these are its bytes, for ever', () => {
  const block = new BlockWriter().finish({
    ...META,
    streamed: { kind: 'commit', attempt: 'x', xid: 5, parts: 6, fromSeq: 7, rollbacks: true },
  });
  expect(block.subarray(-20).toString('hex')).toBe(
    '030178' + '00000005' + '00000006' + '0000000000000007' + '01',
  );
});
