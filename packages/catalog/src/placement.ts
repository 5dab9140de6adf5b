/**
 * The placement of a tenant: who serves it now, under which epoch, and what is being changed about it.
 * Stored as JSON in the KV bucket `drover_placements` under the tenant's token; written by compare-and-set only.
 */
import type { ClusterId, Epoch, TenantId } from '@drover/core';

/**
 * copying: rows are being copied, the stream is not applied yet; live: fed by the stream;
 * returning: the cluster came back and its copy must be reconciled first.
 */
export type ReplicaState = 'copying' | 'live' | 'returning';

export interface Replica {
  readonly state: ReplicaState;
  /** ISO time of the last change of state. */
  readonly since: string;
}

/**
 * Steps of a planned switch-over, in order. The step is persisted before its effect is begun. `abort` may follow each step before
 * `open` and excludes `open`: so whoever takes a close back knows that nobody opens the target.
 */
export type SwitchStep = 'hold' | 'close' | 'drain' | 'open' | 'abort';
/** Steps of an unplanned failover, in order. */
export type PromoteStep = 'fence' | 'drain' | 'open';

export interface Move {
  /** Unique id of this move: the request id of who asked for it. */
  readonly id: string;
  readonly kind: 'switchover' | 'failover';
  readonly from: ClusterId;
  readonly to: ClusterId;
  /** Epoch under which `to` will be opened: always the placement's epoch + 1. */
  readonly nextEpoch: Epoch;
  readonly step: SwitchStep | PromoteStep;
  /** LSN on `from` up to which `to` must have applied (set by step `close`), as `X/Y`. */
  readonly barrierLsn?: string;
  /**
   * Last sequence of the tenant's partition on `to` before it is opened (set with step `open`): everything of the next
   * epoch stands behind it, so replicas follow from there.
   */
  readonly openSeq?: number;
  /** What tells that the sequence still means the same message (`StreamPlace` of the bus). */
  readonly openMark?: string;
  readonly startedAt: string;
  readonly reason: string;
  /** Why it is called off, with step `abort`. */
  readonly error?: string;
}

export interface Placement {
  readonly tenant: TenantId;
  readonly epoch: Epoch;
  /** Everything the primary published under this epoch stands behind this sequence of the tenant's partition. */
  readonly epochSeq: number;
  /** What tells that the sequence still means the same message; absent: never asked for. */
  readonly epochMark?: string;
  readonly primary: ClusterId;
  /** Database on every cluster that holds the tenant. */
  readonly database: string;
  readonly tier: string;
  readonly replicas: Readonly<Record<string, Replica>>;
  /** active: serve; moving: proxies hold new transactions. */
  readonly state: 'active' | 'moving';
  readonly move?: Move;
  /** Outcome of the last move, for `tenant show` and for callers that wait. */
  readonly lastMove?: {
    readonly id: string;
    readonly kind: Move['kind'];
    readonly from: ClusterId;
    readonly to: ClusterId;
    readonly outcome: 'done' | 'aborted';
    readonly error?: string;
    readonly holdMs?: number;
    readonly endedAt: string;
  };
  /** Id of the request that registered the tenant: repeating that request is no conflict. */
  readonly registeredBy?: string;
  readonly updatedAt: string;
}
