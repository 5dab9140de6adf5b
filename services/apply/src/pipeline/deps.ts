/** What a pipeline is built from. */
import type { KnownRelations } from '@drover/block';
import type { Bus } from '@drover/bus';
import type { ClusterId, Turns } from '@drover/core';
import type { ConnectOptions } from '@drover/pg';
import type { Logger } from '@drover/telemetry';
import type { BatchResult } from '../apply/batch.ts';
import type { Pause } from '../apply/route.ts';
import type { Profiling } from '../changes/profiles.ts';
import type { TargetRules } from '../changes/target-rules.ts';
import type { Unsealing } from '../changes/unseal.ts';
import type { Board } from '../ddl/board.ts';
import type { StreamedSlots } from '../streamed/slots.ts';
import type { UpdateTurns } from '../target/update-turns.ts';

export interface PipelineDeps {
  readonly bus: Bus;
  readonly log: Logger;
  /** The target. */
  readonly cluster: ClusterId;
  readonly source: ClusterId;
  readonly partition: number;
  readonly partitions: number;
  readonly database: string;
  /** Of role drover_apply on the target's database. */
  readonly connect: ConnectOptions;
  /** Replication origin of the main lane; `<origin>_lane` is that of the tenants' own lanes. */
  readonly origin: string;
  /** Shared by the pipelines of one source and database. */
  readonly board: Board;
  /** Shared by all pipelines of a target. */
  readonly slots: StreamedSlots;
  /** Keys of sealed tenants. */
  readonly unsealing: Unsealing;
  /** Profiles of small blocks. */
  readonly profiling: Profiling;
  /** As blocks described them. */
  readonly relations: KnownRelations;
  /** Null: rows are written as they are published. */
  readonly rules: TargetRules | null;
  /** Of all pipelines of a target. */
  readonly turns: Turns;
  /** Of large batches of updates in this database. */
  readonly updateTurns: UpdateTurns;
  /** A tenant's share of the work beside others, by its tier. */
  readonly weightOf: (tenant: string) => number;
  readonly batchBytes: number;
  readonly lingerMs: number;
  /** `applied`: the source's slot holds what is not applied everywhere, so a stream that is lost comes again. */
  readonly durability: 'nats-fsync' | 'applied';
  readonly stream: { readonly replicas: number; readonly maxBytes: number; readonly maxAgeMs: number };
  /** Called after each committed transaction. */
  readonly applied: (result: BatchResult, seconds: number) => void;
  /** Called when a tenant's feed has changed other than by being applied. */
  readonly paused: (pause: Pause) => void;
  readonly failpoint?: (step: string) => Promise<void> | void;
}
