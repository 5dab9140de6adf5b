/** Why tenants wait, for `failover.status`; told once in the log and the history when it begins or its cause changes. */
import { type Bus, publishEvent } from '@drover/bus';
import type { TenantId } from '@drover/core';
import type { Logger } from '@drover/telemetry';

export interface Waiting {
  readonly tenant: TenantId;
  /** `refused`: no failover has begun. `stuck`: a task does not get on and is tried again. */
  readonly kind: 'refused' | 'stuck';
  readonly code: string;
  readonly why: string;
  /** ISO time. */
  readonly since: string;
}

export class Told {
  readonly #waiting = new Map<TenantId, Waiting>();
  readonly #bus: Bus;
  readonly #log: Logger;

  constructor(bus: Bus, log: Logger) {
    this.#bus = bus;
    this.#log = log;
  }

  /** By tenant. */
  get all(): readonly Waiting[] {
    return [...this.#waiting.values()].sort((a, b) => a.tenant.localeCompare(b.tenant));
  }

  tell(waits: Omit<Waiting, 'since'>): void {
    const { tenant, kind, code, why } = waits;
    const before = this.#waiting.get(tenant);
    const same = before?.kind === kind && before.code === code;
    this.#waiting.set(tenant, { ...waits, since: same ? before.since : new Date().toISOString() });
    if (same) return;
    this.#log.warn(kind === 'refused' ? 'failover refused' : 'move not finished, will be tried again', {
      tenant,
      code,
      why,
    });
    publishEvent(this.#bus, `failover.${kind}`, { tenant, code, why });
  }

  /** It waits no longer. */
  over(tenant: TenantId): void {
    this.#waiting.delete(tenant);
  }

  /** Refusals that are not in force any more are forgotten. */
  keepRefused(tenants: ReadonlySet<TenantId>): void {
    for (const [tenant, { kind }] of this.#waiting) {
      if (kind === 'refused' && !tenants.has(tenant)) this.#waiting.delete(tenant);
    }
  }
}
