/** What a move waits for. Every wait is bounded, ends with the signal, and says what it waited for in vain. */
import { callRpc, holdsPlace, lastBlockSeq, lastPlace } from '@drover/bus';
import type { Placement } from '@drover/catalog';
import type { ClusterId, Lsn, TenantId } from '@drover/core';
import { cancelled, DroverError, formatLsn, isCancelled, partitionOf, sleep, until } from '@drover/core';
import { readTenantRow, type TenantRow } from '@drover/pg';
import type { BoundedPool } from './bounded-pool.ts';
import { isRecord } from './is-record.ts';
import type { StepContext } from './steps.ts';

/** Whose changes the replica must have been fed with. */
export interface Feeding {
  readonly source: ClusterId;
  readonly epoch: number;
}

/** Why the row cannot take the tenant over, or undefined. Pure. */
export function unfit(row: TenantRow | null, feeding: Feeding): string | undefined {
  if (row === null) return 'does not hold the tenant';
  if (row.role !== 'replica') return `is the tenant's primary of epoch ${row.epoch}`;
  if (row.source !== feeding.source) return `follows ${row.source ?? 'nobody'}, not ${feeding.source}`;
  if (row.epoch !== feeding.epoch) return `is at epoch ${row.epoch}, not ${feeding.epoch}`;
  if (row.feed === 'live' || row.feed === 'catchup') return undefined;
  return `is ${row.feed ?? 'unknown'}: ${row.reason ?? 'no reason on record'}`;
}

export function requireFit(row: TenantRow | null, feeding: Feeding, tenant: TenantId): void {
  const why = unfit(row, feeding);
  if (why === undefined) return;
  throw new DroverError('tenant.no_replica', `the replica of ${tenant} ${why}`, {
    hint: `\`drover tenant show ${tenant}\` and \`drover ledger list\` say more`,
  });
}

/** Waits until the replica has applied the tenant up to `lsn` of its source. A pause of its feed is waited out. */
export async function waitApplied(
  context: StepContext,
  options: { pool: BoundedPool; tenant: TenantId; feeding: Feeding; lsn: Lsn; timeoutMs: number },
): Promise<void> {
  const { pool, tenant, feeding, lsn, timeoutMs } = options;
  await until(
    async () => {
      const row = await readTenantRow(pool, tenant);
      if (row?.feed !== 'held') requireFit(row, feeding, tenant);
      return row?.commitLsn != null && row.commitLsn >= lsn ? true : undefined;
    },
    {
      everyMs: 15,
      timeoutMs,
      signal: context.signal,
      onTimeout: () =>
        new DroverError(
          'failover.drain_timeout',
          `the replica of ${tenant} did not reach ${formatLsn(lsn)} within ${timeoutMs} ms`,
        ),
    },
  );
}

/** Where a reader of the stream that carries the tenant's changes from `source` stands when it has read all. */
export function lastSequence(context: StepContext, source: ClusterId, tenant: TenantId): Promise<number> {
  return lastBlockSeq(context.bus, source, partitionOf(tenant, context.partitions));
}

/** The same of the target, for a move to put on record: the next epoch stands behind it. */
export async function openPlace(
  context: StepContext,
  to: ClusterId,
  tenant: TenantId,
): Promise<{ openSeq: number; openMark: string }> {
  const { seq, mark } = await lastPlace(context.bus, to, partitionOf(tenant, context.partitions));
  return { openSeq: seq, openMark: mark };
}

/** Whether a replica may follow from a sequence that was put on record: the stream may have lost what it held since, and be filled anew. */
export async function mayFollowFrom(
  context: StepContext,
  source: ClusterId,
  tenant: TenantId,
  at: { readonly seq: number; readonly mark: string | undefined },
): Promise<boolean> {
  const { seq, mark } = at;
  if (mark === undefined) return true; // on record since before marks were
  return holdsPlace(context.bus, source, partitionOf(tenant, context.partitions), { seq, mark });
}

export interface Looked {
  readonly row: TenantRow | null;
  /** Up to here the cluster has dealt with the messages of `source`, as far as the tenant goes. */
  readonly seq: number;
}

/**
 * How far the cluster has dealt with the partition of `source`. Both places are read in one snapshot: a tenant that is handed over between them
 * would seem to stand where it does not.
 */
export async function readLooked(
  pool: BoundedPool,
  tenant: TenantId,
  source: ClusterId,
  partition: number,
): Promise<Looked> {
  return pool.snapshot(async (client) => {
    const row = await readTenantRow(client, tenant);
    if (row?.role === 'replica' && row.feed !== 'live') return { row, seq: row.streamSeq ?? 0 };
    const { rows } = await client.query<{ seq: string }>(
      'SELECT stream_seq::text AS seq FROM drover.stream_position WHERE source = $1 AND partition = $2',
      [source, partition],
    );
    return { row, seq: Number(rows[0]?.seq ?? 0) };
  });
}

/** Waits until the replica has dealt with every message of its source up to `seq`, as far as this tenant goes. */
export async function waitConsumed(
  context: StepContext,
  options: { pool: BoundedPool; tenant: TenantId; feeding: Feeding; seq: number; timeoutMs: number },
): Promise<void> {
  const { pool, tenant, feeding, timeoutMs } = options;
  const partition = partitionOf(tenant, context.partitions);
  let seen = 0;
  await until(
    async () => {
      const { row, seq } = await readLooked(pool, tenant, feeding.source, partition);
      requireFit(row, feeding, tenant);
      seen = seq;
      return seq >= options.seq ? true : undefined;
    },
    {
      everyMs: 25,
      timeoutMs,
      signal: context.signal,
      onTimeout: () =>
        new DroverError(
          'failover.drain_timeout',
          `the replica of ${tenant} stands at ${seen} of ${options.seq} and did not drain the bus within ${timeoutMs} ms`,
        ),
    },
  );
}

/**
 * What was seen applied survives a crash of the replica from here on: the apply worker commits asynchronously, and WAL is flushed in order. Without it
 * a replica that crashes between its drain and its opening would open without its last rows (I1).
 */
export async function makeDurable(pool: BoundedPool, tenant: TenantId): Promise<void> {
  await pool.transaction((client) =>
    client.query('UPDATE drover.tenant SET updated_at = pg_catalog.clock_timestamp() WHERE tenant = $1', [
      tenant,
    ]),
  );
}

const OTHERS_MS = 300;

/**
 * A moment for the tenant's further replicas, so that they need not be copied anew for being a little behind. Its outcome is nobody's
 * concern here: `followTenant` measures each.
 */
export async function waitForOthers(
  placement: Placement,
  drained: (cluster: ClusterId, timeoutMs: number) => Promise<void>,
): Promise<void> {
  const others = Object.entries(placement.replicas)
    .filter(([cluster, replica]) => cluster !== placement.move?.to && replica.state === 'live')
    .map(([cluster]) => cluster as ClusterId);
  if (others.length === 0) return;
  const enough = new AbortController();
  const all = Promise.allSettled(others.map((cluster) => drained(cluster, OTHERS_MS)));
  await Promise.race([all, sleep(OTHERS_MS, enough.signal)]);
  enough.abort();
}

const READER_LOOK_MS = 25;

/** Gives the reader of a dead cluster the moment to publish what it has read already. Its silence is no obstacle. */
export async function waitReaderEmpty(
  context: StepContext,
  source: ClusterId,
  timeoutMs: number,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (performance.now() < deadline) {
    if (context.signal.aborted) throw cancelled();
    try {
      const status = await callRpc(context.bus, `cdc.${source}.status`, {}, { timeoutMs: 500 });
      if (inFlightBytes(status) === 0) return;
    } catch (error) {
      if (isCancelled(error)) throw error;
      return;
    }
    await sleep(READER_LOOK_MS, context.signal);
  }
}

/** Published, not yet acknowledged, over all databases of the cluster; as `cdc.<cluster>.status` tells it. */
export function inFlightBytes(status: unknown): number {
  const databases: unknown = isRecord(status) ? status['databases'] : undefined;
  if (!Array.isArray(databases)) return 0;
  return databases.reduce(
    (sum: number, d: unknown) => sum + (isRecord(d) ? Number(d['inFlightBytes'] ?? 0) : 0),
    0,
  );
}
