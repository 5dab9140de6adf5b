/** What is read of CopyData beside the WAL itself. */
import { expect, test } from 'vitest';
import { CopyDataReader } from './copy-data.ts';

const handler = { data: () => {}, keepalive: () => {}, batchEnd: () => {} };

/** XLogData sent at `sentUs`, with a message of these bytes and, at its end, the time of a commit. */
function xlogData(sentUs: bigint, head: readonly number[], committedUs?: bigint): Buffer {
  const header = Buffer.alloc(25);
  header[0] = 0x77;
  header.writeBigUInt64BE(7n, 9);
  header.writeBigInt64BE(sentUs, 17);
  const time = Buffer.alloc(committedUs === undefined ? 0 : 8);
  if (committedUs !== undefined) time.writeBigInt64BE(committedUs, 0);
  return Buffer.concat([header, Buffer.from(head), time]);
}

const NOW_US = 848_000_000_000_000n; // in November 2026
const BEGIN = [0x42, ...Array<number>(8).fill(1)];
const STREAM_COMMIT = [0x63, ...Array<number>(21).fill(1)];
const INSERT = [0x49, 0, 0, 0, 1];

test.each([
  ['begin', BEGIN],
  ['commit of a streamed transaction', STREAM_COMMIT],
])('%s: how long the commit had waited at the source', (_, head) => {
  const reader = new CopyDataReader(() => {});
  expect(reader.lagMs).toBe(0);
  const read = (bytes: Buffer) => reader.read(bytes, 0, bytes.length, handler);
  read(xlogData(NOW_US, head, NOW_US - 1_234_500n));
  expect(reader.lagMs).toBe(1234.5);
  read(xlogData(NOW_US + 9_000_000n, INSERT));
  expect(reader.lagMs).toBe(1234.5);
  read(xlogData(NOW_US, head, NOW_US + 5n)); // a clock that was set back
  expect(reader.lagMs).toBe(0);
});

test('a message that ends too soon says nothing', () => {
  const reader = new CopyDataReader(() => {});
  const bytes = xlogData(NOW_US, BEGIN);
  reader.read(bytes, 0, bytes.length, handler);
  expect(reader.lagMs).toBe(0);
});
