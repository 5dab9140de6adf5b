/** What every step of a copy is given. */
import { type Bus, publishEvent } from '@drover/bus';
import type { Catalog, Placement } from '@drover/catalog';
import type { ClusterId, Share, TenantId } from '@drover/core';
import type { PgPool, Tagging } from '@drover/pg';
import type { Logger } from '@drover/telemetry';
import type { ConfiguredRules } from '../ruled.ts';
import type { TenantTable } from '../scope.ts';
import type { SessionClient } from '../sessions.ts';
import type { Tally } from './tally.ts';

export interface CopyContext {
  readonly bus: Bus;
  readonly catalog: Catalog;
  readonly log: Logger;
  readonly tagging: Tagging;
  readonly partitions: number;
  readonly chunkRows: number;
  /** Absent: there are none. */
  readonly rules?: ConfiguredRules;
  /** Pools as drover_admin. */
  readonly admin: (cluster: ClusterId, database: string) => PgPool;
  /** Connection options as drover_apply. */
  readonly apply: (cluster: ClusterId, database: string) => PgPool;
  readonly signal: AbortSignal;
  readonly onRows: (rows: number) => void;
  /** Its turns beside other copies, by the weight of its tier; without: it has no others beside it. */
  readonly turnsOf?: (tenant: TenantId) => Share;
  /** How long the copy waits behind a chunk that took `tookMs`, so that what is live at the target keeps up. */
  readonly giveWayMs?: (to: ClusterId, tookMs: number) => Promise<number>;
  /** Tests stop the copy here. */
  readonly failpoint?: (step: string) => Promise<void>;
}

/** One copy, from the request in the placement until the replica is live. */
export interface Job {
  readonly tenant: TenantId;
  readonly to: ClusterId;
  /** As it was when the attempt began. */
  readonly placement: Placement;
  /** When the copy was asked for: tells it from an earlier copy in the same epoch. */
  readonly since: string;
  /** All of the tenant's, as they were when the attempt began. */
  readonly tables: readonly TenantTable[];
  /** As they are now. */
  readonly tablesNow: () => Promise<readonly TenantTable[]>;
  /** The writing session at the target. */
  readonly target: SessionClient;
  readonly tally: Tally;
}

/** Progress, for those who watch. */
export function report(
  context: CopyContext,
  job: Pick<Job, 'tenant' | 'to'>,
  fields: Record<string, unknown>,
): void {
  publishEvent(context.bus, 'copy.progress', { tenant: job.tenant, to: job.to, ...fields });
}
