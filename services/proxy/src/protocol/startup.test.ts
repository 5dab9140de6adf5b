import { expect, test } from 'vitest';
import { FramingError } from './assembler.ts';
import { cancelRequest, int32, SSL_REQUEST, startup } from './builders.ts';
import { readFirstPacket, readOptions } from './startup.ts';

test('a startup packet, split at every byte', () => {
  const bytes = startup({ user: 'acme.app', database: 'app', '_pq_.x': '1' });
  for (let cut = 0; cut < bytes.length; cut++) expect(readFirstPacket(bytes.subarray(0, cut))).toBeNull();
  const found = readFirstPacket(Buffer.concat([bytes, Buffer.from('more')]));
  expect(found?.length).toBe(bytes.length);
  expect(found?.packet).toEqual({
    kind: 'startup',
    minor: 0,
    parameters: new Map([
      ['user', 'acme.app'],
      ['database', 'app'],
    ]),
    protocolOptions: ['_pq_.x'],
  });
});

test('requests', () => {
  expect(readFirstPacket(SSL_REQUEST)?.packet).toEqual({ kind: 'ssl' });
  expect(readFirstPacket(Buffer.concat([int32(8), int32(80_877_104)]))?.packet).toEqual({ kind: 'gss' });
  expect(readFirstPacket(cancelRequest(7, Buffer.alloc(32, 1)))?.packet).toEqual({
    kind: 'cancel',
    pid: 7,
    secret: Buffer.alloc(32, 1),
  });
  expect(readFirstPacket(Buffer.concat([int32(8), int32(0x20000)]))?.packet).toEqual({
    kind: 'unsupported',
    major: 2,
    minor: 0,
  });
});

test('hostile packets are refused', () => {
  const bad = [
    int32(7),
    int32(10_001),
    int32(-1),
    Buffer.concat([int32(12), int32(80_877_102), int32(1)]),
    Buffer.concat([int32(12), int32(0x30000), Buffer.from('user')]),
    Buffer.concat([int32(14), int32(0x30000), Buffer.from('user\0x')]),
    Buffer.concat([int32(11), int32(0x30000), Buffer.from('\0\0\0')]),
  ];
  for (const bytes of bad) expect(() => readFirstPacket(bytes), bytes.toString('hex')).toThrow(FramingError);
});

test('options as PostgreSQL splits them', () => {
  expect(readOptions('-c a=1  -cb=2 --c-d=3 -c sp=a\\,\\ b\\\\')).toEqual([
    ['a', '1'],
    ['b', '2'],
    ['c_d', '3'],
    ['sp', 'a, b\\'],
  ]);
  expect(readOptions('')).toEqual([]);
  for (const text of ['-d', '-c', 'x=1', '-c noequals', '-c =1']) expect(readOptions(text), text).toBeNull();
});
