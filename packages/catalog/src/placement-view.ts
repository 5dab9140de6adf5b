/** All placements, kept current by a watch. Reads are synchronous; `revision` says how far the view has come. */
import type { Kv } from '@drover/bus';
import { cancelled, DroverError, type TenantId, tenantFromToken, until } from '@drover/core';
import type { Placement } from './placement.ts';

const LOOK_MS = 5;
const CATCH_UP_MS = 5000;

export type PlacementListener = (tenant: TenantId, placement: Placement | null) => void;

export class PlacementView {
  readonly #byTenant = new Map<TenantId, Placement>();
  readonly #listeners = new Set<PlacementListener>();
  readonly #synced = Promise.withResolvers<void>();
  readonly #placements: Kv<Placement>;
  readonly #signal: AbortSignal;
  #revision = 0;
  #currentAt = Number.NEGATIVE_INFINITY;

  constructor(placements: Kv<Placement>, signal: AbortSignal) {
    this.#placements = placements;
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

  /** Resolves when every change made before the call has been seen. @throws DroverError `bus.unreachable` when that cannot be told, `internal.cancelled` */
  async caughtUp(): Promise<void> {
    await this.#synced.promise;
    const newest = await this.#placements.newest();
    await until(() => (this.#revision >= newest ? true : undefined), {
      everyMs: LOOK_MS,
      timeoutMs: CATCH_UP_MS,
      signal: this.#signal,
      onTimeout: () => new DroverError('bus.unreachable', 'the view of the placements does not catch up'),
    });
  }

  /** Milliseconds since the server last showed that the view is current; about a second at most while all is well. */
  get staleMs(): number {
    return performance.now() - this.#currentAt;
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
    if (options.signal?.aborted || this.#signal.aborted) return Promise.reject(cancelled());
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
    const onAlive = () => {
      this.#currentAt = performance.now();
    };
    for await (const change of placements.watch(this.#signal, { onAlive })) {
      if (change.synced) {
        onAlive();
        this.#synced.resolve();
        continue;
      }
      // Not always growing: a bucket that was made anew counts from 1 again. 0: a key that went with the old one.
      if (change.revision > 0) this.#revision = change.revision;
      const tenant = tenantOf(change.key);
      if (tenant === undefined) continue;
      if (change.value === null) this.#byTenant.delete(tenant);
      else this.#byTenant.set(tenant, change.value);
      this.#tell(tenant, change.value);
    }
  }

  /** One listener's failure is neither another's nor the view's. */
  #tell(tenant: TenantId, placement: Placement | null): void {
    for (const listener of Array.from(this.#listeners)) {
      try {
        listener(tenant, placement);
      } catch (error) {
        process.emitWarning(error instanceof Error ? error : String(error));
      }
    }
  }
}

/** Undefined for a key that no tenant can have: somebody else's. */
function tenantOf(key: string): TenantId | undefined {
  try {
    return tenantFromToken(key);
  } catch {
    return undefined;
  }
}
