import { PG_EPOCH_UNIX_MS, parseLsn } from '@drover/core';
import { expect, test } from 'vitest';
import { encodeStandbyStatus } from './standby-status.ts';

test('layout as the manual gives it', () => {
  const bytes = encodeStandbyStatus({
    write: parseLsn('2/10'),
    flush: parseLsn('1/FFFFFFFF'),
    nowUnixMs: PG_EPOCH_UNIX_MS + 1,
    replyRequested: true,
  });
  expect(bytes.toString('hex')).toBe(
    [
      '64',
      '00000026',
      '72',
      '0000000200000010',
      '00000001ffffffff',
      '00000001ffffffff',
      '00000000000003e8',
      '01',
    ].join(''),
  );
});

test('positions above 2^63 keep their bits', () => {
  const top = parseLsn('FFFFFFFF/FFFFFFFE');
  const bytes = encodeStandbyStatus({ write: top, flush: top, nowUnixMs: 0, replyRequested: false });
  expect(bytes.readBigUInt64BE(14)).toBe(top);
  expect(bytes.readBigInt64BE(30)).toBe(-BigInt(PG_EPOCH_UNIX_MS) * 1000n);
  expect(bytes[38]).toBe(0);
});
