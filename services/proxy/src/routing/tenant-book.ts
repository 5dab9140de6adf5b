/**
 * What this proxy knows about each tenant it has clients of: how many transactions are in flight, who waits, and who asked to be
 * told when the tenant is quiet.
 */
import type { Placement, Tenant } from '@drover/catalog';
import type { Decision } from './router.ts';

/** Somebody who waits for a backend and looks again when told. */
export interface Waiting {
  reconsider(): void;
}

export class TenantRecord {
  readonly tenant: string;
  readonly isolation: Tenant['isolation'];
  /** Transactions with a backend. */
  inFlight = 0;
  readonly waiting = new Set<Waiting>();
  /** Told once when {@link inFlight} is 0. */
  readonly onQuiet = new Set<() => void>();
  routed: Placement | null = null;
  route: Decision | null = null;

  constructor(tenant: string, isolation: Tenant['isolation']) {
    this.tenant = tenant;
    this.isolation = isolation;
  }

  begin(): void {
    this.inFlight++;
  }

  end(): void {
    this.inFlight--;
    if (this.inFlight > 0 || this.onQuiet.size === 0) return;
    for (const told of Array.from(this.onQuiet)) {
      this.onQuiet.delete(told);
      told();
    }
  }
}

export class TenantBook {
  readonly #records = new Map<string, TenantRecord>();

  of(tenant: string, isolation: Tenant['isolation']): TenantRecord {
    let found = this.#records.get(tenant);
    if (found === undefined || found.isolation !== isolation) {
      found = new TenantRecord(tenant, isolation);
      this.#records.set(tenant, found);
    }
    return found;
  }

  find(tenant: string): TenantRecord | undefined {
    return this.#records.get(tenant);
  }

  /** Everybody who waits looks again; of one tenant, or of all. */
  reconsider(tenant?: string): void {
    const records = tenant === undefined ? this.#records.values() : [this.#records.get(tenant)];
    for (const record of records)
      for (const waiting of Array.from(record?.waiting ?? [])) waiting.reconsider();
  }
}
