/**
 * Where a tenant's next transaction goes: its current primary, or nowhere yet. Decides from the placement view and the lease; the
 * decision is made anew at the start of every transaction and costs no I/O.
 */
import type { Placement } from '@drover/catalog';
import type { Pool } from '../pool/pool.ts';
import type { TenantRecord } from './tenant-book.ts';

export interface Route {
  readonly pool: Pool;
  readonly epoch: number;
  /** `<tenant>|<epoch>`, the key of {@link Backend.context}. */
  readonly context: string;
}

export type HoldReason = 'moving' | 'lease' | 'unplaced' | 'stale';

export type Decision =
  | { readonly kind: 'go'; readonly route: Route }
  | { readonly kind: 'hold'; readonly reason: HoldReason };

export interface RouterPorts {
  placement(tenant: string): Placement | undefined;
  /** Whether this proxy may send anything to a primary now. */
  leaseValid(): boolean;
  /** The pool that serves the placement; undefined when the cluster is not in the configuration. */
  pool(placement: Placement): Pool | undefined;
}

const HOLD: Readonly<Record<HoldReason, Decision>> = {
  moving: { kind: 'hold', reason: 'moving' },
  lease: { kind: 'hold', reason: 'lease' },
  unplaced: { kind: 'hold', reason: 'unplaced' },
  stale: { kind: 'hold', reason: 'stale' },
};

export class Router {
  readonly #ports: RouterPorts;

  constructor(ports: RouterPorts) {
    this.#ports = ports;
  }

  /** @param refusedEpoch an epoch the database has refused: until the placement says another, wait. */
  decide(record: TenantRecord, refusedEpoch = -1): Decision {
    if (!this.#ports.leaseValid()) return HOLD.lease;
    const placement = this.#ports.placement(record.tenant);
    if (placement === undefined) return HOLD.unplaced;
    if (placement.state !== 'active') return HOLD.moving;
    if (placement.epoch === refusedEpoch) return HOLD.stale;
    // Placements are replaced, never changed: the same object means the same route.
    if (record.routed === placement && record.route !== null) return record.route;
    const pool = this.#ports.pool(placement);
    if (pool === undefined) return HOLD.unplaced;
    const route: Decision = {
      kind: 'go',
      route: {
        pool,
        epoch: placement.epoch,
        context: `${record.tenant}|${placement.epoch}`,
      },
    };
    record.routed = placement;
    record.route = route;
    return route;
  }

  leaseValid(): boolean {
    return this.#ports.leaseValid();
  }
}
