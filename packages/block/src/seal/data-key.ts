/**
 * What sealing needs of a tenant's keys, and how they are put to work. A data key itself encrypts nothing: each session of a writer draws 128 random
 * bits and derives a key of its own from both (HKDF-SHA256, RFC 5869), under which it counts its blocks. So that two blocks meet under the same key and
 * nonce, two sessions would have to draw the same 128 bits; no state has to survive a restart, and there is no number of blocks after which a
 * data key must be changed.
 */
import { createHmac, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto';
import type { TenantId } from '@drover/core';

/** A key of one tenant, 256 bits. Whoever holds keys gives the same object for the same key: what is derived is remembered with it. */
export interface DataKey {
  /** Number of the key among the tenant's, from 1; 0: a key that nobody keeps. */
  readonly id: number;
  readonly secret: KeyObject;
}

/** Keys for whoever writes. */
export interface SealingKeys {
  /**
   * The key under which the tenant's blocks are sealed now; null: they are not.
   * @throws DroverError `key.unavailable` when they are to be sealed and cannot be: the block must not be written
   */
  current(tenant: TenantId): DataKey | null;
}

/** Keys for whoever reads. */
export interface OpeningKeys {
  /** Null: there is no such key, or not any more. @throws DroverError `block.sealed` when it is there and cannot be used */
  find(tenant: TenantId, id: number): DataKey | null;
}

/** Tells one key from another that has the same number; says nothing of use about either. */
export function checkOf(key: DataKey): number {
  return createHmac('sha256', key.secret).update('drover block check').digest().readUInt32BE(0);
}

export function sessionKey(key: DataKey, salt: Buffer): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync('sha256', key.secret, salt, 'drover block v1', 32)));
}
