import { describe, expect, it } from 'vitest';
import { decodeBinary } from './describe.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

describe('values in the ledger', () => {
  it.each([
    [16, '01', true],
    [23, 'ffffffff', -1],
    [20, '7fffffffffffffff', '9223372036854775807'],
    [701, '7ff8000000000000', 'NaN'],
    [25, '68c3a9', 'hé'],
    [3802, '017b7d', '{}'],
    [17, '00ff', '\\x00ff'],
    [2950, '00112233445566778899aabbccddeeff', '00112233-4455-6677-8899-aabbccddeeff'],
    [1082, '00000000', '2000-01-01'],
    [1114, '0000000000000001', '2000-01-01 00:00:00.000001'],
    [1184, 'ffffffffffffffff', '1999-12-31 23:59:59.999999+00'],
    [1184, '7fffffffffffffff', 'infinity'],
    [1700, '0000 0000 0000 0000', '0'],
    [1700, '0002 0000 0000 0002 0001 1388', '1.50'],
    [1700, '0001 0001 4000 0000 0005', '-50000'],
    [1700, '0001 ffff 0000 0003 0064', '0.010'],
    [1700, '0001 fffe 0000 0008 0001', '0.00000001'],
    [1700, '0000 0000 c000 0000', 'NaN'],
  ] as const)('type %i: %s', (type, bytes, text) => {
    expect(decodeBinary(hex(bytes), type)).toBe(text);
  });

  it('of types it does not know are left to base64', () => {
    expect(decodeBinary(hex('0102'), 869)).toBe(undefined);
    expect(decodeBinary(hex('0102'), 23)).toBe(undefined);
  });
});
