import { createHash, createHmac, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { hmacPads, signContext } from './sign-context.ts';

describe('signContext', () => {
  const key = Buffer.from('0123456789abcdef0123456789abcdef');

  it('signs token, epoch and backend number, and shows the first two', () => {
    const expected = createHmac('sha256', key).update('acme|7|42').digest('hex');
    expect(signContext(key, 'acme', 7, 42)).toBe(`acme|7|${expected}`);
    expect(signContext(key, 'acme', 7, '42')).toBe(signContext(key, 'acme', 7, 42n));
  });

  it('differs in each of its inputs', () => {
    const all = [
      signContext(key, 'acme', 7, 42),
      signContext(key, 'acme', 7, 43),
      signContext(key, 'acme', 8, 42),
      signContext(key, 'acm', 7, 42),
      signContext(randomBytes(32), 'acme', 7, 42),
    ].map((context) => context.split('|')[2]);
    expect(new Set(all).size).toBe(all.length);
  });

  it('stores pads from which sha256 alone makes the HMAC', () => {
    for (const length of [0, 1, 32, 64]) {
      const any = randomBytes(length);
      const { inner, outer } = hmacPads(any);
      const sha = (...parts: Buffer[]) => createHash('sha256').update(Buffer.concat(parts)).digest();
      const message = Buffer.from('acme|7|42');
      expect(sha(outer, sha(inner, message))).toEqual(createHmac('sha256', any).update(message).digest());
    }
    expect(() => hmacPads(randomBytes(65))).toThrow(RangeError);
  });
});
