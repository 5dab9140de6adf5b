/** All placements, kept current by a watch. Reads are synchronous; `revision` says how far the view has come. */
import type { Kv } from '@drover/bus';
import { cancelled, type TenantId, tenantFromToken } from '@drover/core';
import type { Placement } from './placement.ts';

export type PlacementListener = (tenant: TenantId, placement: Placement | null) => void;

export class PlacementView {
  readonly #byTenant = new Map<TenantId, Placement>();
  readonly #listeners = new Set<PlacementListener>();
  readonly #synced = Promise.withResolvers<void>();
  readonly #signal: AbortSignal;
  #revision = 0;

  constructor(placements: Kv<Placement>, signal: AbortSignal) {
    this.#signal = signal;
    this.#synced.promise.catch(() => undefined);
    void this.#follow(placements).catch((error: unknown) => this.#synced.reject(error));
    signal.addEventListener('abort', () => this.#synced.reject(cancelled()), { once: true });
  }

  /** Resolves when everything that was there has been read. */
  get synced(): Promise<void> {
    return this.#synced.promise;
  }

  /** Revision of the newest change seen. */
  get revision(): number {
    return this.#revision;
  }

  get(tenant: TenantId): Placement | undefined {
    return this.#byTenant.get(tenant);
  }

  all(): IterableIterator<Placement> {
    return this.#byTenant.values();
  }

  /** Called after each change; returns how to stop. */
  onChange(listener: PlacementListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The first placement of the tenant that satisfies the predicate, now or later; undefined after `timeoutMs`. */
  waitFor(
    tenant: TenantId,
    predicate: (placement: Placement) => boolean,
    options: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<Placement | undefined> {
    const now = this.get(tenant);
    if (now !== undefined && predicate(now)) return Promise.resolve(now);
    return new Promise((resolve, reject) => {
      const end = (act: () => void) => {
        clearTimeout(timer);
        off();
        options.signal?.removeEventListener('abort', onAbort);
        this.#signal.removeEventListener('abort', onAbort);
        act();
      };
      const onAbort = () => end(() => reject(cancelled()));
      const timer = setTimeout(() => end(() => resolve(undefined)), options.timeoutMs);
      const off = this.onChange((changed, placement) => {
        if (changed === tenant && placement !== null && predicate(placement)) end(() => resolve(placement));
      });
      options.signal?.addEventListener('abort', onAbort, { once: true });
      this.#signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  async #follow(placements: Kv<Placement>): Promise<void> {
    for await (const change of placements.watch(this.#signal)) {
      if (change.synced) {
        this.#synced.resolve();
        continue;
      }
      this.#revision = Math.max(this.#revision, change.revision);
      const tenant = change.value?.tenant ?? tenantFromToken(change.key);
      if (change.value === null) this.#byTenant.delete(tenant);
      else this.#byTenant.set(tenant, change.value);
      for (const listener of this.#listeners) listener(tenant, change.value);
    }
  }
}
