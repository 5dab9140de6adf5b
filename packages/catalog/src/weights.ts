/**
 * What share of the work a tenant has beside others: the weight of its tier. Asked of the catalog when it is wanted, and remembered for a while; until the
 * answer has come, and while the bus is away, the weight is 1.
 */
import type { TenantId } from '@drover/core';

const FRESH_MS = 30_000;
const TENANTS_MAX = 4096;

export interface WeightsOptions {
  /** `[tiers]` of the configuration. */
  readonly tiers: Readonly<Record<string, { readonly weight: number }>>;
  /** Null: no such tenant. */
  readonly tierOf: (tenant: TenantId) => Promise<string | null>;
  readonly nowMs?: () => number;
}

export class Weights {
  readonly #options: WeightsOptions;
  readonly #nowMs: () => number;
  readonly #known = new Map<string, { weight: number; readonly atMs: number }>();

  constructor(options: WeightsOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? (() => performance.now());
  }

  /** At once, by what is known. */
  of(tenant: string): number {
    const known = this.#known.get(tenant);
    if (known !== undefined && this.#nowMs() - known.atMs < FRESH_MS) return known.weight;
    if (known === undefined && this.#known.size >= TENANTS_MAX) {
      for (const oldest of this.#known.keys()) {
        this.#known.delete(oldest);
        break;
      }
    }
    const entry = { weight: known?.weight ?? 1, atMs: this.#nowMs() };
    this.#known.delete(tenant);
    this.#known.set(tenant, entry);
    void this.#ask(tenant, entry);
    return entry.weight;
  }

  /** The same, once the answer is there. */
  async ask(tenant: string): Promise<number> {
    const entry = { weight: 1, atMs: this.#nowMs() };
    await this.#ask(tenant, entry);
    return entry.weight;
  }

  async #ask(tenant: string, entry: { weight: number }): Promise<void> {
    const { tiers, tierOf } = this.#options;
    try {
      const tier = await tierOf(tenant as TenantId);
      entry.weight = tiers[tier ?? 'standard']?.weight ?? 1;
    } catch {
      // What was known holds: a share of the work is worth no failure.
    }
  }
}
