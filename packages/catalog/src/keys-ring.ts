/**
 * The keys of all tenants as a service holds them: kept current by a watch, unwrapped when first used, asked without waiting. It fails closed: a tenant that
 * is sealed and whose key cannot be had gets an error, never the answer that it is not sealed. It holds the wrapped records of all tenants (some hundred
 * bytes each) and a bounded number of unwrapped keys.
 */
import type { KeyObject } from 'node:crypto';
import type { Bus, KvChange } from '@drover/bus';
import { type Closeable, cancelled, DroverError, isCancelled, sleep, type TenantId } from '@drover/core';
import { KeyBucket } from './keys-bucket.ts';
import type { MasterKey, MasterKeys } from './keys-master.ts';
import { type KeyRecord, keyName, newSecret, parseName, type StoredKey, unwrap } from './keys-record.ts';
import { PUT_RIGHT, shreddedKey, unavailable, unopened } from './keys-refusals.ts';
import { TenantKeyring } from './keys-tenant.ts';

export interface KeyRingOptions {
  readonly replicas: number;
  /** Null: none is configured; nothing can be sealed or opened. */
  readonly master: MasterKeys | null;
  /** Unwrapped keys kept. */
  readonly keysMax?: number;
  /** Told when the keys cannot be watched: until they can be, nobody gets a key to seal with. */
  readonly onTrouble?: (error: unknown) => void;
}

/** A `DataKey` of `@drover/block`: the same object as long as it is kept. */
export interface RingKey {
  readonly id: number;
  readonly secret: KeyObject;
}

const KEYS_MAX = 4096;
const AGAIN_MS = 1000;

/** Both the `SealingKeys` and the `OpeningKeys` of `@drover/block`. */
export class KeyRing implements Closeable {
  readonly #bucket: KeyBucket;
  readonly #options: KeyRingOptions;
  readonly #stop = new AbortController();
  readonly #synced = Promise.withResolvers<void>();
  readonly #tenants = new Map<TenantId, TenantKeyring>();
  /** Unwrapped, by name, the one used longest ago first. */
  readonly #keys = new Map<string, RingKey>();
  readonly #loading = new Map<string, Promise<void>>();
  #trouble: unknown = null;
  #revision = 0;
  #ended: Promise<void> = Promise.resolve();

  private constructor(bucket: KeyBucket, options: KeyRingOptions) {
    this.#bucket = bucket;
    this.#options = options;
  }

  /** Resolves when all there is has been read; ends with the signal. @throws DroverError `bus.*`, `internal.cancelled` */
  static async open(bus: Bus, options: KeyRingOptions, signal?: AbortSignal): Promise<KeyRing> {
    const ring = new KeyRing(await KeyBucket.open(bus, options), options);
    const stop = () => ring.#stop.abort();
    signal?.addEventListener('abort', stop, { once: true });
    if (signal?.aborted) stop();
    ring.#ended = ring.#follow().finally(() => signal?.removeEventListener('abort', stop));
    await ring.#synced.promise;
    return ring;
  }

  /** Revision of the newest change seen. */
  get revision(): number {
    return this.#revision;
  }

  /** The key that seals the tenant's blocks now; null: they are not sealed. @throws DroverError `key.unavailable` */
  current(tenant: TenantId): RingKey | null {
    if (this.#trouble !== null) throw unavailable(tenant, 'the keys cannot be watched', this.#trouble);
    if (this.#stop.signal.aborted) throw unavailable(tenant, 'the keys are not watched any more');
    const ring = this.#tenants.get(tenant);
    const id = ring?.sealsWith ?? 'open';
    if (ring === undefined || id === 'open') return null;
    if (id === 'lost') throw unavailable(tenant, 'the bucket has lost what says whether it is sealed');
    if (id === 'discard') return this.#keep(keyName(tenant, 0), () => ({ id: 0, secret: newSecret() }));
    const stored = ring.key(id);
    if (stored === null) throw unavailable(tenant, `the bucket has lost key ${id}`);
    const key = this.#unwrapped(tenant, stored);
    if (typeof key === 'string') throw unavailable(tenant, key);
    return key;
  }

  /**
   * Null: there is no such key, as far as this ring has seen: {@link load} looks again.
   * @throws DroverError `block.sealed` when it was shredded, or is there and cannot be unwrapped
   */
  find(tenant: TenantId, id: number): RingKey | null {
    const ring = this.#tenants.get(tenant);
    if (id === 0 || ring?.isShredded(id)) throw shreddedKey(tenant, id);
    const stored = ring?.key(id) ?? null;
    if (stored === null) return null;
    const key = this.#unwrapped(tenant, stored);
    if (typeof key !== 'string') return key;
    throw unopened(tenant, id, key, PUT_RIGHT);
  }

  /** {@link load} may find it: it is not here, and not known to be gone for good. */
  lacks(tenant: TenantId, id: number): boolean {
    const ring = this.#tenants.get(tenant);
    return id !== 0 && (ring === undefined || (ring.key(id) === null && !ring.isShredded(id)));
  }

  has(tenant: TenantId, id: number): boolean {
    return id === 0 || (this.#tenants.get(tenant)?.key(id) ?? null) !== null;
  }

  /** Its blocks are to be read by nobody else, or were once. */
  isSealed(tenant: TenantId): boolean {
    return this.#tenants.get(tenant)?.hasHead ?? false;
  }

  /** Tenants that have, or had, keys; sorted. */
  get sealed(): readonly TenantId[] {
    return [...this.#tenants.keys()].filter((tenant) => this.isSealed(tenant)).sort();
  }

  /** Of the tenant's keys that are there, in whatever order. */
  idsOf(tenant: TenantId): readonly number[] {
    return [...(this.#tenants.get(tenant)?.ids ?? [])];
  }

  /** A block may come before the news of its key: asks the bucket itself. Afterwards {@link find} gives what there is. @throws DroverError `bus.unreachable` */
  load(tenant: TenantId, id: number): Promise<void> {
    const name = keyName(tenant, id);
    const under = this.#loading.get(name) ?? this.#load(tenant, id).finally(() => this.#loading.delete(name));
    this.#loading.set(name, under);
    return under;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#ended;
    this.#keys.clear();
  }

  async #load(tenant: TenantId, id: number): Promise<void> {
    const key = await this.#bucket.key(tenant, id);
    // Read behind the key: a shredding that has begun since is seen, one that begins later comes by the watch.
    const head = await this.#bucket.head(tenant);
    const ring = this.#ringOf(tenant);
    if (head !== null && !ring.hasHead) ring.takeHead(head.value);
    if (key !== null && ring.key(id) === null) ring.takeKey(id, key.value);
  }

  #ringOf(tenant: TenantId): TenantKeyring {
    const found = this.#tenants.get(tenant) ?? new TenantKeyring();
    this.#tenants.set(tenant, found);
    return found;
  }

  /** Why not, when it cannot be. */
  #unwrapped(tenant: TenantId, stored: StoredKey): RingKey | string {
    const name = keyName(tenant, stored.id);
    const kept = this.#keys.get(name);
    if (kept !== undefined) return this.#keep(name, () => kept);
    const { master } = this.#options;
    if (master === null) return 'no master key is configured here';
    const generation = master.find(stored.master);
    if (generation === null) return `generation ${stored.master} of the master key is not here`;
    const secret = unwrap(generation, tenant, stored) ?? unwrapInstead(master, generation, tenant, stored);
    if (secret === null)
      return `generation ${stored.master} of the master key that is here is not the one it was wrapped under`;
    return this.#keep(name, () => ({ id: stored.id, secret }));
  }

  #keep(name: string, make: () => RingKey): RingKey {
    const key = this.#keys.get(name) ?? make();
    this.#keys.delete(name);
    this.#keys.set(name, key);
    for (const oldest of this.#keys.keys()) {
      if (this.#keys.size <= (this.#options.keysMax ?? KEYS_MAX)) break;
      this.#keys.delete(oldest);
    }
    return key;
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        const watch = this.#bucket.records.watch(signal);
        for await (const change of watch) {
          this.#take(change);
          if (change.synced !== true) continue;
          await this.#complete();
          this.#trouble = null;
          this.#synced.resolve();
        }
      } catch (error) {
        if (signal.aborted || isCancelled(error)) break;
        this.#trouble = error;
        this.#options.onTrouble?.(error);
        await sleep(AGAIN_MS, signal).catch(() => undefined);
      }
    }
    this.#synced.promise.catch(() => undefined);
    this.#synced.reject(cancelled());
  }

  /**
   * Nobody may pass for unsealed because his head did not come: those that stand in the bucket and are not here are asked for one by one; one that cannot
   * be read counts as lost.
   */
  async #complete(): Promise<void> {
    for (const { tenant, id } of await this.#bucket.names()) {
      if (id !== 'head' || this.#tenants.get(tenant)?.hasHead) continue;
      try {
        const head = await this.#bucket.head(tenant);
        if (head !== null) this.#ringOf(tenant).takeHead(head.value);
      } catch (error) {
        if (error instanceof DroverError && error.disposition === 'retry') throw error;
        this.#ringOf(tenant).takeHead(null);
      }
    }
  }

  #take(change: KvChange<KeyRecord>): void {
    if (change.synced) return;
    if (change.revision > 0) this.#revision = change.revision;
    const name = parseName(change.key);
    if (name === undefined) return;
    const ring = this.#ringOf(name.tenant);
    const before = [...ring.ids];
    if (name.id === 'head') ring.takeHead(change.value?.kind === 'head' ? change.value : null);
    else ring.takeKey(name.id, change.value?.kind === 'key' ? change.value : null);
    const changed = name.id === 'head' ? before.filter((id) => ring.key(id) === null) : [name.id];
    for (const id of changed) this.#keys.delete(keyName(name.tenant, id));
  }
}

/** The file may hold another key by now. */
function unwrapInstead(master: MasterKeys, wrong: MasterKey, tenant: TenantId, stored: StoredKey) {
  const other = master.insteadOf(wrong);
  return other === null ? null : unwrap(other, tenant, stored);
}
