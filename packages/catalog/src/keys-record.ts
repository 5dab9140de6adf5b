/**
 * What stands in the bucket `drover_keys`: for each sealed tenant a head, `<tenant token>.head`, and its keys, `<tenant token>.<id>`, each wrapped under a
 * master key (AES-256-GCM; tenant and id are additional data, so no key can be put in the place of another). Pure.
 *
 * A key is only ever used when the head names it, and only who made a key lets the head name it. Ids are never used twice: `last` only grows, through
 * shredding too.
 */
import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import { type TenantId, tenantFromToken, tenantToken } from '@drover/core';
import type { MasterKey } from './keys-master.ts';

export interface KeyHead {
  readonly kind: 'head';
  /** shredding: no key may be used any more, but some may still stand there. */
  readonly state: 'sealed' | 'shredding' | 'shredded';
  /** The key that seals; 0: none. */
  readonly current: number;
  /** The highest id that was ever named. */
  readonly last: number;
  /** Keys up to this id are gone for good. */
  readonly shredded: number;
  readonly changedAt: string;
}

export interface StoredKey {
  readonly kind: 'key';
  readonly id: number;
  /** Generation of the master key. */
  readonly master: number;
  /** base64. */
  readonly nonce: string;
  /** base64: the key, then the tag. */
  readonly wrapped: string;
  readonly createdAt: string;
}

export type KeyRecord = KeyHead | StoredKey;

const ALGORITHM = 'aes-256-gcm';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const OPTIONS = { authTagLength: TAG_BYTES } as const;

export function headName(tenant: TenantId): string {
  return `${tenantToken(tenant)}.head`;
}

export function keyName(tenant: TenantId, id: number): string {
  return `${tenantToken(tenant)}.${id}`;
}

export interface RecordName {
  readonly tenant: TenantId;
  readonly id: number | 'head';
}

/** Undefined for a name that Drover does not make. */
export function parseName(name: string): RecordName | undefined {
  const [, token, what] = /^([^.]+)\.(head|[1-9]\d{0,9})$/.exec(name) ?? [];
  if (token === undefined || what === undefined) return undefined;
  try {
    return { tenant: tenantFromToken(token), id: what === 'head' ? what : Number(what) };
  } catch {
    return undefined;
  }
}

export function newSecret(): KeyObject {
  return createSecretKey(randomBytes(KEY_BYTES));
}

export function wrap(
  master: MasterKey,
  tenant: TenantId,
  { id, secret, createdAt }: { readonly id: number; readonly secret: KeyObject; readonly createdAt: string },
): StoredKey {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(ALGORITHM, master.secret, nonce, OPTIONS);
  cipher.setAAD(associated(tenant, id));
  const wrapped = Buffer.concat([cipher.update(secret.export()), cipher.final(), cipher.getAuthTag()]);
  return {
    kind: 'key',
    id,
    master: master.generation,
    nonce: nonce.toString('base64'),
    wrapped: wrapped.toString('base64'),
    createdAt,
  };
}

/** Null: it was not wrapped under this master key, not for this tenant, or is damaged. */
export function unwrap(master: MasterKey, tenant: TenantId, stored: StoredKey): KeyObject | null {
  const wrapped = Buffer.from(stored.wrapped, 'base64');
  const nonce = Buffer.from(stored.nonce, 'base64');
  if (wrapped.length !== KEY_BYTES + TAG_BYTES || nonce.length !== NONCE_BYTES) return null;
  const decipher = createDecipheriv(ALGORITHM, master.secret, nonce, OPTIONS);
  decipher.setAAD(associated(tenant, stored.id));
  decipher.setAuthTag(wrapped.subarray(KEY_BYTES));
  try {
    return createSecretKey(
      Buffer.concat([decipher.update(wrapped.subarray(0, KEY_BYTES)), decipher.final()]),
    );
  } catch {
    return null;
  }
}

function associated(tenant: TenantId, id: number): Buffer {
  return Buffer.from(`drover data key\0${tenant}\0${id}`);
}
