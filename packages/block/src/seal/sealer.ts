/** The writer's side: for each block a key and a nonce that no other block has, or the word that it is not sealed. */
import { type KeyObject, randomBytes } from 'node:crypto';
import type { TenantId } from '@drover/core';
import { checkOf, type DataKey, type SealingKeys, sessionKey } from './data-key.ts';
import { nonceOf, packMark, SALT_BYTES } from './mark.ts';

/** How one block is to be sealed: used once. */
export interface Seal {
  /** For the header. */
  readonly mark: Buffer;
  readonly key: KeyObject;
  readonly nonce: Buffer;
}

interface Session {
  readonly check: number;
  readonly salt: Buffer;
  readonly key: KeyObject;
  next: number;
}

/** Numbers are 32 bits. */
const BLOCKS_MAX = 2 ** 32;

export class Sealer {
  readonly #keys: SealingKeys;
  readonly #blocksMax: number;
  /** What a key's holder forgets is forgotten here. */
  readonly #sessions = new WeakMap<DataKey, Session>();
  /** Blocks that were given a seal. */
  sealed = 0;

  /** `blocksMax`: blocks of one session; then it begins another. */
  constructor(keys: SealingKeys, blocksMax = BLOCKS_MAX) {
    this.#keys = keys;
    this.#blocksMax = Math.min(blocksMax, BLOCKS_MAX);
  }

  /** Null: the tenant's blocks are not sealed. @throws DroverError `key.unavailable`: the block must not be written */
  next(tenant: TenantId): Seal | null {
    const key = this.#keys.current(tenant);
    if (key === null) return null;
    this.sealed++;
    const session = this.#session(key);
    const number = session.next++;
    const { check, salt } = session;
    return {
      mark: packMark({ keyId: key.id, check, salt, number }),
      key: session.key,
      nonce: nonceOf(number),
    };
  }

  #session(key: DataKey): Session {
    const known = this.#sessions.get(key);
    if (known !== undefined && known.next < this.#blocksMax) return known;
    const salt = randomBytes(SALT_BYTES);
    const session = { check: checkOf(key), salt, key: sessionKey(key, salt), next: 0 };
    this.#sessions.set(key, session);
    return session;
  }
}
