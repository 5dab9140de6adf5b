/** The tenant registry in memory, kept current by a watch: logins and cancellations ask nobody. */
import type { Kv } from '@drover/bus';
import type { Tenant } from '@drover/catalog';
import { describeError, isCancelled, sleep, tenantFromToken } from '@drover/core';

export class Directory {
  readonly #tenants = new Map<string, Tenant>();
  readonly #synced = Promise.withResolvers<void>();

  /** Resolves when all that was there has been read. */
  get synced(): Promise<void> {
    return this.#synced.promise;
  }

  find(name: string): Tenant | undefined {
    return this.#tenants.get(name);
  }

  /** Follows the registry until the signal aborts. */
  async run(
    tenants: Kv<Tenant>,
    options: { signal: AbortSignal; onGone: (tenant: string) => void; onError: (why: string) => void },
  ): Promise<void> {
    while (!options.signal.aborted) {
      try {
        for await (const change of tenants.watch(options.signal)) {
          if (change.synced === true) {
            this.#synced.resolve();
            continue;
          }
          const name = change.value?.tenant ?? tenantFromToken(change.key);
          if (change.value === null) this.#tenants.delete(name);
          else this.#tenants.set(name, change.value);
          if (change.value?.state !== 'active') options.onGone(name);
        }
      } catch (error) {
        if (isCancelled(error)) return;
        options.onError(describeError(error));
      }
      await sleep(500, options.signal);
    }
  }
}
