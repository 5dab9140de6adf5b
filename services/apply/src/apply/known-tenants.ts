/**
 * Rows of drover.tenant as one connection has read or written them, each with its version (`xmin`). What the next transaction decides by them holds if it
 * finds the same versions under its locks (drover.lock_known, or its own UPDATE), so it need not wait for an answer before it writes. Whoever else
 * changes a row makes it another version.
 */
import type { TenantState } from '../decide/tenant-state.ts';

export interface Known {
  readonly state: Readonly<TenantState>;
  readonly version: string;
}

export class KnownTenants {
  readonly #known = new Map<string, Known>();

  /** In their order; null: not all of them are known. */
  of(tenants: readonly string[]): ReadonlyMap<string, Known> | null {
    const found = new Map<string, Known>();
    for (const tenant of tenants) {
      const known = this.#known.get(tenant);
      if (known === undefined) return null;
      found.set(tenant, known);
    }
    return found;
  }

  /** Under a lock of the transaction at hand; if that fails, {@link forget}. */
  read(state: TenantState, version: string): void {
    this.#known.set(state.tenant, { state: { ...state }, version });
  }

  /** Committed; undefined: as what is not known. */
  wrote(states: Iterable<TenantState>, version: string | undefined): void {
    for (const state of states) {
      if (version === undefined) this.#known.delete(state.tenant);
      else this.read(state, version);
    }
  }

  forget(): void {
    this.#known.clear();
  }
}
