import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { clusterId, epoch, partitionOf, tenantFromToken, tenantId, tenantToken } from './ids.ts';
import { formatLsn, lsn, parseLsn } from './lsn.ts';

describe('identifiers', () => {
  it('turns any tenant name into one token of a subject and back', () => {
    const name = fc
      .string({ minLength: 1, maxLength: 50, unit: 'grapheme' })
      .filter((s) => !s.startsWith('_') && !s.includes('\0'));
    fc.assert(
      fc.property(name, (text) => {
        fc.pre(Buffer.byteLength(text) <= 200 && text.isWellFormed());
        const token = tenantToken(tenantId(text));
        expect(token).toMatch(/^[A-Za-z0-9_=-]+$/);
        expect(tenantFromToken(token)).toBe(text);
      }),
    );
  });

  it.each(['', '_hidden', 'a\0b', 'x'.repeat(201)])('refuses %j as a tenant', (text) => {
    expect(() => tenantId(text)).toThrow(/not a tenant name/);
  });

  it.each(['', 'East', '1east', 'a.b', 'x'.repeat(32)])('refuses %j as a cluster', (text) => {
    expect(() => clusterId(text)).toThrow(/not a cluster name/);
  });

  it('keeps tenants in their partition for ever: golden values', () => {
    expect(['acme', 't01', '1', '_shared'].map((t) => partitionOf(tenantId(t), 4))).toEqual([3, 0, 0, 3]);
    expect(partitionOf(tenantId('acme'), 1)).toBe(0);
  });

  it('refuses an epoch that is not a whole number', () => {
    for (const value of [-1, 1.5, Number.NaN, 2 ** 60]) expect(() => epoch(value)).toThrow(/epoch/);
  });
});

describe('LSNs', () => {
  it('go through text and back over all 64 bits, and compare as numbers, not as text (pitfall 10)', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 2n ** 64n - 1n), (value) => {
        expect(parseLsn(formatLsn(lsn(value)))).toBe(value);
      }),
    );
    expect(parseLsn('1/0') > parseLsn('0/FFFFFFFF')).toBe(true);
    expect(parseLsn('10/0') > parseLsn('9/0')).toBe(true);
    for (const bad of ['', '0', 'x/1', '0/123456789']) expect(() => parseLsn(bad)).toThrow(/not an LSN/);
  });
});
