/**
 * Tells the reader of each source how far this cluster has applied it, durably: under `[nats] durability = "applied"` the source forgets nothing
 * before. What is said is first written here, in a transaction that is flushed, and everything it speaks of was committed before it: so it is on
 * disk when it is said, though the batches themselves commit asynchronously.
 *
 * A tenant that catches up or is held back keeps the position where that tenant is; one that is parked does not (its change stands in the stream
 * and in the ledger, and it may stay parked for days), nor does one that is being copied: should the stream be lost meanwhile, both are to be
 * copied anew.
 */
import type { Bus } from '@drover/bus';
import {
  describeError,
  formatLsn,
  isCancelled,
  parseLsn,
  partitionOf,
  sleep,
  type TenantId,
} from '@drover/core';
import type { PgPool } from '@drover/pg';
import type { Logger } from '@drover/telemetry';
import { arrayLiteral } from '../target/array-literal.ts';
import type { AppliedMark } from './applied-marks.ts';

/** What one pipeline contributes. */
export interface DurablePipeline {
  readonly source: string;
  readonly partition: number;
  readonly stream: string;
  /** The newest mark that holds up to `seq`. */
  takeApplied(seq: number): AppliedMark | null;
}

export interface DurableOptions {
  readonly bus: Bus;
  readonly cluster: string;
  readonly database: string;
  readonly partitions: number;
  readonly pool: PgPool;
  readonly pipelines: readonly DurablePipeline[];
  readonly log: Logger;
}

export interface Position {
  readonly source: string;
  readonly partition: number;
  readonly stream_created: string;
  readonly stream_seq: number;
  readonly system_id: string | null;
  readonly generation: number | null;
  readonly applied_lsn: string | null;
}

/** A tenant that is behind its partition's position, or before which a newer epoch waits. */
export interface Waiting {
  readonly tenant: string;
  readonly feed: string | null;
  readonly source: string | null;
  readonly stream: string | null;
  readonly stream_seq: number | null;
}

const EVERY_MS = 500;

export async function reportDurable(options: DurableOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await reportOnce(options);
    } catch (error) {
      if (!isCancelled(error))
        options.log.debug('how far is applied cannot be told', { error: describeError(error) });
    }
    await sleep(EVERY_MS, signal);
  }
}

async function reportOnce(options: DurableOptions): Promise<void> {
  const { pool, bus, cluster, database } = options;
  // One statement, one snapshot: a tenant cannot slip from behind the position to it in between.
  const { rows } = await pool.query<{ positions: Position[] | null; waiting: Waiting[] | null }>(
    `SELECT (SELECT json_agg(p) FROM (SELECT source, partition, stream_created, stream_seq, system_id, generation, applied_lsn::text
               FROM drover.stream_position) p) AS positions,
            (SELECT json_agg(t) FROM (SELECT tenant, feed, source, stream, stream_seq FROM drover.tenant
               WHERE (role = 'replica' AND feed IN ('catchup', 'held')) OR (stream IS NOT NULL AND reason LIKE 'epoch:%')) t) AS waiting`,
  );
  const positions = rows[0]?.positions ?? [];
  const waiting = rows[0]?.waiting ?? [];
  const moved: { position: Position; mark: AppliedMark }[] = [];
  const now: { position: Position; lsn: string; waitingFor: string | null }[] = [];
  for (const pipeline of options.pipelines) {
    const position = positions.find(
      (p) => p.source === pipeline.source && p.partition === pipeline.partition,
    );
    if (position === undefined || position.generation === null) continue;
    const floor = floorOf(pipeline, position.stream_seq, waiting, options.partitions);
    const mark = pipeline.takeApplied(floor.seq);
    const newer =
      mark !== null && (position.applied_lsn === null || mark.lsn > parseLsn(position.applied_lsn));
    if (newer) moved.push({ position, mark });
    const lsn = newer ? formatLsn(mark.lsn) : position.applied_lsn;
    if (lsn !== null) now.push({ position, lsn, waitingFor: floor.waitingFor });
  }
  if (moved.length > 0) await write(pool, moved);
  if (bus.nc.isClosed()) return;
  for (const { position, lsn, waitingFor } of now) {
    const { source, partition, system_id: systemId, generation } = position;
    const message = { cluster, database, partition, systemId, generation, lsn, waitingFor };
    bus.nc.publish(`drover.durable.${source}`, JSON.stringify(message));
  }
}

/** Up to where everybody who counts has dealt with the stream. Pure. */
export function floorOf(
  pipeline: Pick<DurablePipeline, 'source' | 'partition' | 'stream'>,
  position: number,
  waiting: readonly Waiting[],
  partitions: number,
): { readonly seq: number; readonly waitingFor: string | null } {
  let floor: { seq: number; waitingFor: string | null } = { seq: position, waitingFor: null };
  for (const { tenant, feed, source, stream, stream_seq } of waiting) {
    const fed =
      source === pipeline.source && partitionOf(tenant as TenantId, partitions) === pipeline.partition;
    if (!fed && stream !== pipeline.stream) continue;
    const seq = stream === pipeline.stream ? (stream_seq ?? 0) : 0;
    if (seq < floor.seq) floor = { seq, waitingFor: `${tenant} (${feed ?? 'a newer epoch'})` };
  }
  return floor;
}

async function write(
  pool: PgPool,
  moved: readonly { readonly position: Position; readonly mark: AppliedMark }[],
): Promise<void> {
  const column = (get: (m: (typeof moved)[number]) => string | number): string =>
    arrayLiteral(moved.map(get));
  await pool.transaction(async (client) => {
    await client.query('SET LOCAL synchronous_commit = on');
    await client.query(
      `UPDATE drover.stream_position AS p SET applied_lsn = u.lsn, applied_seq = u.seq
       FROM unnest($1::text[], $2::int[], $3::text[], $4::int[], $5::pg_lsn[], $6::bigint[]) AS u(source, partition, created, generation, lsn, seq)
       WHERE p.source = u.source AND p.partition = u.partition AND p.stream_created = u.created AND p.generation = u.generation
         AND (p.applied_lsn IS NULL OR p.applied_lsn < u.lsn)`,
      [
        column((m) => m.position.source),
        column((m) => m.position.partition),
        column((m) => m.position.stream_created),
        column((m) => m.position.generation ?? 0),
        column((m) => formatLsn(m.mark.lsn)),
        column((m) => m.mark.seq),
      ],
    );
  });
}
