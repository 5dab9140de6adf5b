/** The reader's side: what has been sealed is opened with the key that its header names, or refused with the reason. */
import type { KeyObject } from 'node:crypto';
import { DroverError, type TenantId } from '@drover/core';
import { decrypt } from './cipher.ts';
import { checkOf, type DataKey, type OpeningKeys, sessionKey } from './data-key.ts';
import { nonceOf, type SealMark } from './mark.ts';

/** Derived keys kept with each data key: of the writers at work and the ones before them. */
const SESSIONS_MAX = 8;

interface Known {
  readonly check: number;
  readonly sessions: Map<string, KeyObject>;
}

export class Opener {
  readonly #keys: OpeningKeys;
  /** What a key's holder forgets is forgotten here. */
  readonly #known = new WeakMap<DataKey, Known>();

  constructor(keys: OpeningKeys) {
    this.#keys = keys;
  }

  /** The body as it was before it was sealed. @throws DroverError `block.sealed` without the key, `block.corrupt` when the seal is broken */
  open(tenant: TenantId, mark: SealMark, block: Buffer, bodyStart: number): Buffer {
    const { keyId } = mark;
    const key = this.#keys.find(tenant, keyId);
    if (key === null) {
      throw sealed(tenant, keyId, keyId === 0 ? 'nobody has kept that key' : 'there is no such key');
    }
    const known = this.#knownOf(key);
    if (known.check !== mark.check)
      throw sealed(tenant, keyId, 'the key of that number is another one', { isAnother: true });
    const body = decrypt(block, bodyStart, derived(known, key, mark.salt), nonceOf(mark.number));
    if (body !== null) return body;
    throw new DroverError(
      'block.corrupt',
      `a sealed block of tenant ${tenant} is not what was sealed under key ${keyId}`,
      { facts: { tenant, keyId }, hint: 'its header or its body was changed on the way' },
    );
  }

  #knownOf(key: DataKey): Known {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const made = { check: checkOf(key), sessions: new Map() };
    this.#known.set(key, made);
    return made;
  }
}

function derived({ sessions }: Known, key: DataKey, salt: Buffer): KeyObject {
  const name = salt.toString('latin1');
  const found = sessions.get(name) ?? sessionKey(key, salt);
  sessions.delete(name);
  sessions.set(name, found); // newest last
  for (const oldest of sessions.keys()) {
    if (sessions.size <= SESSIONS_MAX) break;
    sessions.delete(oldest);
  }
  return found;
}

/** A block that cannot be opened here: which key of which tenant is missing, and why. */
export function sealed(
  tenant: TenantId,
  keyId: number,
  why: string,
  more: Readonly<Record<string, unknown>> = {},
): DroverError {
  return new DroverError('block.sealed', `a block of tenant ${tenant} is sealed under key ${keyId}: ${why}`, {
    facts: { tenant, keyId, ...more },
    hint: '`drover key list` shows which keys there are; when the right one is back, `drover ledger retry`',
  });
}
