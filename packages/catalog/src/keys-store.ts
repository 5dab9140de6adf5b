/**
 * What is done to tenants' keys: seal, rotate, shred, wrap anew. Every step is one compare-and-set or one erasure, so that whoever is stopped in between
 * leaves a state from which repeating the call goes on, and of two at once one wins.
 */
import type { KvEntry } from '@drover/bus';
import { DroverError, type TenantId } from '@drover/core';
import type { KeyBucket } from './keys-bucket.ts';
import type { MasterKey, MasterKeys } from './keys-master.ts';
import { headName, type KeyHead, keyName, newSecret, type StoredKey, unwrap, wrap } from './keys-record.ts';

export interface TenantKeys {
  readonly tenant: TenantId;
  /** Null: lost, or whoever made the first key died before it was named. */
  readonly head: KeyHead | null;
  readonly keys: readonly StoredKey[];
}

const ATTEMPTS_MAX = 50;
const AT_ONCE = 16;

export class KeyStore {
  readonly #bucket: KeyBucket;
  readonly #master: MasterKeys | null;
  readonly #now: () => Date;

  /** `master`: null is enough to list and to shred. */
  constructor(bucket: KeyBucket, master: MasterKeys | null, now: () => Date = () => new Date()) {
    this.#bucket = bucket;
    this.#master = master;
    this.#now = now;
  }

  /** Seals what the tenant writes from now on; after a shredding too. One that is sealed is left as it is. @throws DroverError `key.shredding`, `bus.*` */
  async seal(tenant: TenantId): Promise<{ readonly head: KeyHead; readonly made: boolean }> {
    const found = await this.#bucket.head(tenant);
    if (found?.value.state === 'sealed') return { head: found.value, made: false };
    return { head: await this.#renew(tenant, found, true), made: true };
  }

  /** Another key seals from now on; the ones before still open. @throws DroverError `key.none`, `key.shredding`, `bus.*` */
  async rotate(tenant: TenantId): Promise<KeyHead> {
    return this.#renew(tenant, await this.#bucket.head(tenant), false);
  }

  /**
   * Removes all keys of the tenant, for good: first the head says so, from which on nobody uses one, then they are erased one by one. Repeating it completes
   * what was cut short. @returns how many keys were erased. @throws DroverError `key.none`, `bus.*`
   */
  async shred(tenant: TenantId): Promise<number> {
    const ids = await this.#bucket.idsOf(tenant);
    const through = await this.#beginShredding(tenant, ids.at(-1) ?? 0);
    // Made in between by somebody whom the head has stopped by now.
    const standing = (await this.#bucket.idsOf(tenant)).filter((id) => id <= through);
    for (const id of standing) await this.#bucket.erase(tenant, id);
    await this.#change(tenant, (head) =>
      head?.state === 'shredding' && head.shredded === through
        ? { ...head, state: 'shredded', changedAt: this.#at() }
        : null,
    );
    return standing.length;
  }

  async #beginShredding(tenant: TenantId, highest: number): Promise<number> {
    let through = 0;
    await this.#change(tenant, (head) => {
      if (head === null && highest === 0) throw none(tenant);
      through = Math.max(head?.last ?? 0, highest);
      const kept = { kind: 'head', current: 0, last: through, shredded: through } as const;
      return { ...kept, state: 'shredding', changedAt: this.#at() };
    });
    return through;
  }

  /** By tenant. */
  async list(): Promise<TenantKeys[]> {
    const all = [...(await this.#bucket.ids())].sort(([a], [b]) => (a < b ? -1 : 1));
    return inRooms(all, async ([tenant, ids]) => {
      const keys = await Promise.all(ids.map((id) => this.#bucket.key(tenant, id)));
      return {
        tenant,
        head: (await this.#bucket.head(tenant))?.value ?? null,
        keys: keys.flatMap((key) => (key === null ? [] : [key.value])),
      };
    });
  }

  /**
   * Wraps every key under the newest master key; blocks are not touched. Can be repeated.
   * @returns how many were wrapped anew, and those that no master key at hand unwraps
   */
  async rewrap(): Promise<{
    readonly wrapped: number;
    readonly refused: readonly { readonly tenant: TenantId; readonly id: number; readonly master: number }[];
  }> {
    const all = [...(await this.#bucket.ids())].flatMap(([tenant, ids]) => ids.map((id) => ({ tenant, id })));
    const newest = this.#newest();
    const outcomes = await inRooms(all, ({ tenant, id }) => this.#rewrapOne(tenant, id, newest));
    return {
      wrapped: outcomes.filter((outcome) => outcome === 'wrapped').length,
      refused: outcomes.filter((outcome) => typeof outcome === 'object'),
    };
  }

  async #rewrapOne(tenant: TenantId, id: number, newest: MasterKey) {
    for (let attempt = 1; ; attempt++) {
      const found = await this.#bucket.key(tenant, id);
      if (found === null || found.value.master === newest.generation) return 'left';
      const master = this.#master?.find(found.value.master) ?? null;
      const secret = master === null ? null : unwrap(master, tenant, found.value);
      if (secret === null) return { tenant, id, master: found.value.master };
      const { createdAt } = found.value;
      try {
        // Against a shredding in between: of an erased key the revision is not there any more.
        const anew = wrap(newest, tenant, { id, secret, createdAt });
        await this.#bucket.records.update(keyName(tenant, id), anew, found.revision);
        return 'wrapped';
      } catch (error) {
        if (!isConflict(error) || attempt >= ATTEMPTS_MAX) throw error;
      }
    }
  }

  /** A new key, then the head that names it. */
  async #renew(tenant: TenantId, before: KvEntry<KeyHead> | null, anyState: boolean): Promise<KeyHead> {
    let found = before;
    for (let attempt = 1; ; attempt++) {
      if (found?.value.state === 'shredding') throw shredding(tenant);
      if (!anyState && found?.value.state !== 'sealed') throw none(tenant);
      const id = await this.#makeKey(tenant, (found?.value.last ?? 0) + 1);
      const kept = { kind: 'head', current: id, last: id, shredded: found?.value.shredded ?? 0 } as const;
      const head: KeyHead = { ...kept, state: 'sealed', changedAt: this.#at() };
      try {
        if (found === null) await this.#bucket.records.create(headName(tenant), head);
        else await this.#bucket.records.update(headName(tenant), head, found.revision);
        return head;
      } catch (error) {
        if (!isConflict(error) || attempt >= ATTEMPTS_MAX) throw error;
      }
      const now = await this.#bucket.head(tenant);
      if (now?.value.current === id) return now.value;
      await this.#bucket.erase(tenant, id); // nobody has named it, and nobody else can
      // Somebody else has made a new key since this was asked for.
      if (now?.value.state === 'sealed' && now.value.current > (found?.value.last ?? 0)) return now.value;
      found = now;
    }
  }

  /** Under the first id that is free, from `from` on: others may be making one, or have died doing so. */
  async #makeKey(tenant: TenantId, from: number): Promise<number> {
    const master = this.#newest();
    for (let id = from; ; id++) {
      try {
        const stored = wrap(master, tenant, { id, secret: newSecret(), createdAt: this.#at() });
        await this.#bucket.records.create(keyName(tenant, id), stored);
        return id;
      } catch (error) {
        if (!isConflict(error)) throw error;
      }
    }
  }

  async #change(tenant: TenantId, fn: (head: KeyHead | null) => KeyHead | null): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const found = await this.#bucket.head(tenant);
      const next = fn(found?.value ?? null);
      if (next === null) return;
      try {
        if (found === null) await this.#bucket.records.create(headName(tenant), next);
        else await this.#bucket.records.update(headName(tenant), next, found.revision);
        return;
      } catch (error) {
        if (!isConflict(error) || attempt >= ATTEMPTS_MAX) throw error;
      }
    }
  }

  #newest(): MasterKey {
    if (this.#master !== null) return this.#master.newest;
    throw new DroverError('key.master', 'no master key is configured', {
      hint: '`drover key generate` makes one; [security] master_key = { file = "…" } says where it stands',
    });
  }

  #at(): string {
    return this.#now().toISOString();
  }
}

async function inRooms<T, R>(all: readonly T[], work: (one: T) => Promise<R>): Promise<R[]> {
  const out: R[] = [];
  for (let i = 0; i < all.length; i += AT_ONCE) {
    out.push(...(await Promise.all(all.slice(i, i + AT_ONCE).map(work))));
  }
  return out;
}

function isConflict(error: unknown): boolean {
  return error instanceof DroverError && error.code === 'placement.conflict';
}

function none(tenant: TenantId): DroverError {
  return new DroverError('key.none', `tenant ${tenant} has no keys`, {
    hint: `\`drover tenant seal ${tenant}\` seals what it writes from then on`,
    facts: { tenant },
  });
}

function shredding(tenant: TenantId): DroverError {
  return new DroverError('key.shredding', `the keys of tenant ${tenant} are being shredded`, {
    hint: `complete it first: drover key shred ${tenant} --yes`,
    facts: { tenant },
  });
}
