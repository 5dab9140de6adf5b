/**
 * Keys for sealed blocks, as the pipelines use them: a key is fetched where a message is received, so that decoding need not wait. What is not
 * sealed costs a look at one byte. A key that cannot be had is nobody else's trouble: the block becomes an entry that parks its tenant.
 */
import { type BlockHeader, Opener, type OpeningKeys, peekSeal, sealedUnder } from '@drover/block';
import type { TenantId } from '@drover/core';
import type { DecodedBlock } from './decoded-block.ts';

/** As `KeyRing` of `@drover/catalog` is. */
export interface FetchedKeys extends OpeningKeys {
  /** Fetching it may find it. */
  lacks(tenant: TenantId, id: number): boolean;
  /** @throws DroverError `bus.unreachable` */
  load(tenant: TenantId, id: number): Promise<void>;
}

/** A key that was not there is not asked for again so soon: blocks that need it may come by the thousand. */
const AGAIN_MS = 1000;
const MISSING_MAX = 1000;

export interface Unsealing {
  /** For decoding. */
  readonly opener: Opener;
  /** Null: nothing has to be waited for. Afterwards the key is there, or is not to be had. @throws DroverError `bus.unreachable` */
  ready(data: Buffer): Promise<void> | null;
}

export class KeyFetcher implements Unsealing {
  readonly opener: Opener;
  readonly #keys: FetchedKeys;
  readonly #nowMs: () => number;
  /** Asked for in vain, and when. */
  readonly #missing = new Map<string, number>();

  constructor(keys: FetchedKeys, nowMs: () => number = () => performance.now()) {
    this.#keys = keys;
    this.#nowMs = nowMs;
    this.opener = new Opener(keys);
  }

  ready(data: Buffer): Promise<void> | null {
    const named = peekSeal(data);
    if (named === null || !this.#keys.lacks(named.tenant, named.keyId)) return null;
    const needed = sealedUnder(data); // nothing is asked for on the word of a damaged block
    if (needed === null) return null;
    const { tenant, keyId } = needed;
    const name = `${keyId} ${tenant}`;
    const atMs = this.#missing.get(name);
    if (atMs !== undefined && this.#nowMs() - atMs < AGAIN_MS) return null;
    return this.#fetch(tenant, keyId, name);
  }

  async #fetch(tenant: TenantId, keyId: number, name: string): Promise<void> {
    this.#missing.delete(name);
    await this.#keys.load(tenant, keyId);
    if (!this.#keys.lacks(tenant, keyId)) return;
    if (this.#missing.size >= MISSING_MAX) this.#missing.clear();
    this.#missing.set(name, this.#nowMs());
  }
}

const NOTHING = Buffer.alloc(0);

/** Of a block that cannot be opened: its header alone, which says whose it is and where it belongs. */
export function unopenedBlock(header: BlockHeader): DecodedBlock {
  return {
    header,
    relations: [],
    transactions: [],
    count: 0,
    op: new Uint8Array(0),
    relation: new Uint16Array(0),
    oldKind: new Uint8Array(0),
    at: new Int32Array(0),
    bytes: NOTHING,
    truncates: new Map(),
  };
}
