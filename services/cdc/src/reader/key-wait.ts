/**
 * Tenants that are to be sealed and whose keys cannot be had. For a while the reader stands still: the source keeps its WAL, and is not asked for it
 * again and again meanwhile. After that the tenant alone stops: its rows are withheld, its replicas are told so and wait for a copy, and
 * everybody else goes on. Nothing is published unsealed.
 */
import type { SealingKeys } from '@drover/block';
import { DroverError, sleep, type TenantId } from '@drover/core';
import type { Logger } from '@drover/telemetry';

/** No event tells that a file holds another master key. */
const LOOK_MS = 500;
/** While some are withheld already, nobody waits long for another one: as a rule it is the master key that is missing. */
const NEXT_MS = 2000;

/** Whose key was missing; null: the error says something else. */
export function sealedTenantOf(error: unknown): TenantId | null {
  if (!(error instanceof DroverError) || error.code !== 'key.unavailable') return null;
  const { tenant } = error.facts;
  return typeof tenant === 'string' ? (tenant as TenantId) : null; // whoever throws it names one
}

export interface KeyWaitOptions {
  readonly keys: SealingKeys;
  /** How long everybody waits for one tenant's key, milliseconds. */
  readonly patienceMs: number;
  readonly log: Logger;
  /** Told how many tenants are without their keys. */
  readonly onCount: (tenants: number) => void;
}

export class KeyWait {
  readonly #options: KeyWaitOptions;
  readonly #withheld = new Set<TenantId>();

  constructor(options: KeyWaitOptions) {
    this.#options = options;
  }

  /** Tenants whose rows are withheld. Grows only between two readings of the source: no block of theirs is open then. */
  get withheld(): ReadonlySet<TenantId> {
    return this.#withheld;
  }

  /**
   * Resolves when the tenant's key can be had, when it is withheld from now on, or when the signal aborts. `told`: why it still cannot, each time that
   * changes.
   */
  async wait(tenant: TenantId, signal: AbortSignal, told: (error: DroverError) => void): Promise<void> {
    const { onCount, log } = this.#options;
    onCount(this.#withheld.size + 1);
    try {
      const error = await this.#missing(tenant, signal, told);
      if (signal.aborted) return;
      if (error === null) {
        log.info('the key of the tenant is there', { tenant });
        return;
      }
      this.#withheld.add(tenant);
      log.error('rows of a tenant are withheld until its key is there; then copy it anew', {
        tenant,
        error: error.message,
      });
    } finally {
      onCount(this.#withheld.size);
    }
  }

  /** Whose key is there again goes on with its next transaction. */
  look(): void {
    for (const tenant of this.#withheld) {
      try {
        this.#options.keys.current(tenant);
      } catch {
        continue; // told already
      }
      this.#withheld.delete(tenant);
      this.#options.log.warn(
        'the key of a tenant is there again; its replicas lack what was withheld: copy it anew',
        {
          tenant,
        },
      );
      this.#options.onCount(this.#withheld.size);
    }
  }

  /** Null: it is not missing any more, or the signal has aborted. Otherwise why it is, after all patience. */
  async #missing(
    tenant: TenantId,
    signal: AbortSignal,
    told: (error: DroverError) => void,
  ): Promise<DroverError | null> {
    const { keys, patienceMs } = this.#options;
    const enoughMs = this.#withheld.size > 0 ? Math.min(NEXT_MS, patienceMs) : patienceMs;
    let sinceMs = performance.now();
    let reason: string | null = null;
    do {
      try {
        keys.current(tenant);
        return null;
      } catch (error) {
        if (!(error instanceof DroverError) || error.code !== 'key.unavailable') throw error;
        if (reason !== error.message) told(error);
        reason = error.message;
        // Keys that cannot be watched are the bus's trouble: it is waited out, as all of that is.
        if (error.cause !== undefined) sinceMs = performance.now();
        if (performance.now() - sinceMs >= enoughMs) return error;
      }
    } while (await sleep(LOOK_MS, signal));
    return null;
  }
}
