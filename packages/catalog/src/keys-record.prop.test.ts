import { tenantId } from '@drover/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { newMasterKey, parseMasterKeys } from './keys-master.ts';
import { headName, keyName, newSecret, parseName, type StoredKey, unwrap, wrap } from './keys-record.ts';

const master = (generation = 1) => parseMasterKeys(newMasterKey(generation)).get(generation)!;
const MASTER = master();
const names = fc
  .string({ minLength: 1, maxLength: 40, unit: 'grapheme' })
  .filter((s) => !s.startsWith('_') && !s.includes('\0') && Buffer.from(s).toString() === s)
  .map(tenantId);
const ids = fc.integer({ min: 1, max: 0xffff_ffff });
const stored = (tenant = tenantId('acme'), id = 1): { secret: Buffer; key: StoredKey } => {
  const secret = newSecret();
  return { secret: secret.export(), key: wrap(MASTER, tenant, { id, secret, createdAt: 'now' }) };
};

describe('a wrapped key', () => {
  it('is unwrapped for its tenant and id, and shows nothing of itself', () => {
    fc.assert(
      fc.property(names, ids, (tenant, id) => {
        const { secret, key } = stored(tenant, id);
        expect(unwrap(MASTER, tenant, key)?.export()).toEqual(secret);
        expect(Buffer.from(key.wrapped, 'base64').includes(secret)).toBe(false);
      }),
    );
  });

  it('is not unwrapped in the place of another, nor under another master key', () => {
    fc.assert(
      fc.property(names, names, ids, ids, (a, b, i, j) => {
        fc.pre(a !== b && i !== j);
        const { key } = stored(a, i);
        expect(unwrap(MASTER, b, key)).toBeNull();
        expect(unwrap(MASTER, a, { ...key, id: j })).toBeNull();
        expect(unwrap(master(), a, key)).toBeNull();
      }),
    );
  });

  it('is not unwrapped with any one bit turned', () => {
    const { key } = stored();
    for (const field of ['wrapped', 'nonce'] as const) {
      const bytes = Buffer.from(key[field], 'base64');
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const turned = Buffer.from(bytes);
        turned[bit >> 3]! ^= 1 << (bit & 7);
        expect(unwrap(MASTER, tenantId('acme'), { ...key, [field]: turned.toString('base64') })).toBeNull();
      }
    }
  });

  it('is not unwrapped when cut or when it is something else', () => {
    const { key } = stored();
    fc.assert(
      fc.property(fc.string(), (text) => {
        fc.pre(text !== key.wrapped && text !== key.nonce);
        expect(unwrap(MASTER, tenantId('acme'), { ...key, wrapped: text })).toBeNull();
        expect(unwrap(MASTER, tenantId('acme'), { ...key, nonce: text })).toBeNull();
      }),
    );
  });
});

describe('names in the bucket', () => {
  it('are read as they were made', () => {
    fc.assert(
      fc.property(names, ids, (tenant, id) => {
        expect(parseName(headName(tenant))).toEqual({ tenant, id: 'head' });
        expect(parseName(keyName(tenant, id))).toEqual({ tenant, id });
      }),
    );
  });

  it.each(['acme', 'acme.', '.head', 'acme.0', 'acme.01', 'acme.1.2', 'acme.tail', '_x.head'])(
    'leave %s to others',
    (name) => {
      expect(parseName(name)).toBeUndefined();
    },
  );
});
