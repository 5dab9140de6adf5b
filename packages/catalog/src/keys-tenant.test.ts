import { describe, expect, it } from 'vitest';
import type { KeyHead, StoredKey } from './keys-record.ts';
import { TenantKeyring } from './keys-tenant.ts';

const key = (id: number): StoredKey => ({
  kind: 'key',
  id,
  master: 1,
  nonce: '',
  wrapped: '',
  createdAt: '',
});
const head = (state: KeyHead['state'], current: number, shredded = 0): KeyHead => ({
  kind: 'head',
  state,
  current,
  last: Math.max(current, shredded),
  shredded,
  changedAt: '',
});

describe('what a ring knows of a tenant', () => {
  it('begins with: it is not sealed', () => {
    const ring = new TenantKeyring();
    ring.takeKey(1, key(1)); // a key nobody has named yet
    expect(ring.sealsWith).toBe('open');
  });

  it('is the key that the head names, in whatever order they come', () => {
    const ring = new TenantKeyring();
    ring.takeHead(head('sealed', 2));
    expect([ring.sealsWith, ring.key(2)]).toEqual([2, null]);
    ring.takeKey(2, key(2));
    expect(ring.key(2)).toEqual(key(2));
  });

  it.each(['shredding', 'shredded'] as const)('is no key any more once the head says %s', (state) => {
    const ring = new TenantKeyring();
    for (const id of [1, 2, 3]) ring.takeKey(id, key(id));
    ring.takeHead(head(state, 0, 2));
    expect([ring.sealsWith, ring.key(1), ring.key(2), ring.key(3)]).toEqual(['discard', null, null, key(3)]);
    ring.takeKey(1, key(1)); // an answer that was on its way
    expect(ring.key(1)).toBeNull();
  });

  it('forgets shredded keys for good, though the tenant is sealed again', () => {
    const ring = new TenantKeyring();
    ring.takeHead(head('sealed', 3, 2));
    for (const id of [1, 2, 3]) ring.takeKey(id, key(id));
    expect([ring.sealsWith, ring.key(1), ring.key(2), ring.key(3)]).toEqual([3, null, null, key(3)]);
  });

  it('is nothing when the head is gone, which is not the same as not being sealed', () => {
    const ring = new TenantKeyring();
    ring.takeHead(head('sealed', 1));
    ring.takeKey(1, key(1));
    ring.takeHead(null);
    expect([ring.sealsWith, ring.key(1)]).toEqual(['lost', key(1)]);
    ring.takeHead(head('sealed', 1));
    expect(ring.sealsWith).toBe(1);
  });

  it('does not take a record under another name than its own', () => {
    const ring = new TenantKeyring();
    ring.takeKey(1, key(2));
    expect(ring.key(1)).toBeNull();
  });
});
