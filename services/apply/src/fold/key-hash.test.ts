import { expect, it } from 'vitest';
import { keyHash } from './key-hash.ts';

it('is HalfSipHash-1-3', () => {
  // Of bytes 0, 1, 2 … under the key 00 01 … 07, by length: lib/test_siphash.c of Linux.
  const known = [
    ...[0x5814c896, 0xe7e864ca, 0xbc4b0e30, 0x01539939, 0x7e059ea6, 0x88e3d89b, 0xa0080b65, 0x9d38d9d6],
    ...[0x577999b1, 0xc839caed, 0xe4fa32cf, 0x959246ee, 0x6b28096c, 0x66dd9cd6, 0x16658a7c, 0xd0257b04],
  ];
  const bytes = Uint8Array.from({ length: 20 }, (_, i) => i - 2);
  for (const [length, hash] of known.entries())
    expect(keyHash(0x03020100, 0x07060504, bytes, 2, 2 + length) >>> 0).toBe(hash);
});
