/**
 * What a move does to the clusters, one function per effect, each safe to repeat (I10). Who calls them in which order,
 * and what is persisted in between, stands in `switchover.ts`, `promote.ts` and `rejoin.ts`.
 */
import { type Bus, callRpc, streamName } from '@drover/bus';
import type { ClusterId, Epoch, Lsn, TenantId } from '@drover/core';
import { DroverError, formatLsn, isCancelled, parseLsn, partitionOf, until } from '@drover/core';
import type { PgPool } from '@drover/pg';

export interface Clusters {
  /** Pool of `drover_admin` on the tenant's database of a cluster. */
  pool(cluster: ClusterId, database: string): PgPool;
}

export interface StepContext {
  readonly bus: Bus;
  readonly clusters: Clusters;
  readonly partitions: number;
  readonly signal: AbortSignal;
}

/** The tenant's row on one cluster, as far as a move needs it. */
export interface TenantRow {
  readonly epoch: number;
  readonly role: 'primary' | 'replica';
  readonly open: boolean;
  readonly source: string | null;
  readonly feed: string | null;
  readonly commit_lsn: string | null;
  readonly stream_seq: string | null;
  readonly reason: string | null;
}

const SELECT_ROW = `SELECT epoch::float8 AS epoch, role, open, source, feed, commit_lsn::text AS commit_lsn,
       stream_seq::text AS stream_seq, reason
  FROM drover.tenant WHERE tenant = $1`;

export async function readRow(pool: PgPool, tenant: TenantId): Promise<TenantRow | undefined> {
  const { rows } = await pool.query<TenantRow>(SELECT_ROW, [tenant]);
  return rows[0];
}

/**
 * Closes the tenant's writes on its primary and returns the barrier's LSN: no later commit of the tenant exists there.
 * @throws DroverError `failover.drain_timeout` when a transaction of the tenant stays open for longer than `timeoutMs`.
 */
export async function closeTenant(pool: PgPool, tenant: TenantId, epoch: Epoch, timeoutMs: number): Promise<Lsn> {
  try {
    return await pool.transaction(async (client) => {
      await client.query(`SELECT set_config('lock_timeout', $1, true)`, [`${Math.max(1, Math.round(timeoutMs))}ms`]);
      const { rows } = await client.query<{ lsn: string }>('SELECT drover.close_tenant($1, $2)::text AS lsn', [tenant, epoch]);
      return parseLsn(rows[0]?.lsn ?? '');
    });
  } catch (error) {
    if (sqlState(error) === '55P03') {
      throw new DroverError('failover.drain_timeout', `a transaction of ${tenant} stayed open for ${timeoutMs} ms`, {
        hint: 'end it (`drover tenant show` names its pid) and ask again',
        cause: error,
      });
    }
    throw error;
  }
}

/** Opens the tenant for writing; done already under this epoch is success. */
export async function openTenant(pool: PgPool, tenant: TenantId, epoch: Epoch): Promise<void> {
  const row = await readRow(pool, tenant);
  if (row?.epoch === epoch && row.role === 'primary' && row.open) return;
  await pool.query('SELECT drover.open_tenant($1, $2)', [tenant, epoch]);
}

/**
 * Makes `pool`'s cluster a replica fed by `source` under `epoch`. The stream is followed from where the cluster's apply
 * worker stands (or from where it began to hold the tenant back), so nothing of the new epoch is missed.
 */
export async function followTenant(
  pool: PgPool,
  tenant: TenantId,
  options: { epoch: Epoch; source: ClusterId; partition: number },
): Promise<void> {
  await pool.transaction(async (client) => {
    const { rows } = await client.query<TenantRow>(`${SELECT_ROW} FOR UPDATE`, [tenant]);
    const row = rows[0];
    if (row !== undefined && row.role === 'replica' && row.epoch === options.epoch && row.feed !== 'held') return;
    const position = await client.query<{ seq: string }>(
      'SELECT stream_seq::text AS seq FROM drover.stream_position WHERE source = $1 AND partition = $2',
      [options.source, options.partition],
    );
    const held = row?.feed === 'held' && row.source === options.source ? row.stream_seq : null;
    await client.query(
      `INSERT INTO drover.tenant AS t (tenant, epoch, role, open, source, feed, stream, stream_seq)
       VALUES ($1, $2, 'replica', false, $3, 'catchup', $4, $5)
       ON CONFLICT (tenant) DO UPDATE SET epoch = excluded.epoch, role = 'replica', open = false, source = excluded.source,
         feed = 'catchup', stream = excluded.stream, stream_seq = excluded.stream_seq, system_id = NULL, generation = NULL,
         commit_lsn = NULL, part = NULL, lenient_until = NULL, skip_lsn = NULL, reason = NULL, updated_at = now()
       WHERE t.epoch <= excluded.epoch`,
      [
        tenant,
        options.epoch,
        options.source,
        streamName(options.source, options.partition),
        held ?? position.rows[0]?.seq ?? '0',
      ],
    );
  });
}

/** Waits until the replica has applied the tenant up to `lsn` of its source. */
export async function waitApplied(
  context: StepContext,
  pool: PgPool,
  tenant: TenantId,
  lsn: Lsn,
  timeoutMs: number,
): Promise<void> {
  await until(
    async () => {
      const row = await readRow(pool, tenant);
      if (row?.feed === 'parked') {
        throw new DroverError('tenant.no_replica', `the replica of ${tenant} is parked: ${row.reason ?? 'no reason on record'}`, {
          hint: 'see `drover ledger list`',
        });
      }
      return row?.commit_lsn != null && parseLsn(row.commit_lsn) >= lsn ? true : undefined;
    },
    {
      everyMs: 15,
      timeoutMs,
      signal: context.signal,
      onTimeout: () =>
        new DroverError('failover.drain_timeout', `the replica of ${tenant} did not reach ${formatLsn(lsn)} within ${timeoutMs} ms`),
    },
  );
}

/** Last sequence of the stream that carries the tenant's changes from `source`. */
export async function lastSequence(context: StepContext, source: ClusterId, tenant: TenantId): Promise<number> {
  const info = await context.bus.jsm.streams.info(streamName(source, partitionOf(tenant, context.partitions)));
  return info.state.last_seq;
}

/** Waits until the replica has dealt with every message of `source` up to `seq`, as far as this tenant goes. */
export async function waitConsumed(
  context: StepContext,
  options: { pool: PgPool; tenant: TenantId; source: ClusterId; seq: number; timeoutMs: number },
): Promise<void> {
  const partition = partitionOf(options.tenant, context.partitions);
  await until(
    async () => {
      const row = await readRow(options.pool, options.tenant);
      if (row?.role === 'replica' && row.feed === 'catchup') {
        return Number(row.stream_seq ?? 0) >= options.seq ? true : undefined;
      }
      if (row?.role === 'replica' && row.feed !== 'live') {
        throw new DroverError('tenant.no_replica', `the replica of ${options.tenant} is ${row.feed ?? 'unknown'}: ${row.reason ?? ''}`);
      }
      const { rows } = await options.pool.query<{ seq: string }>(
        'SELECT stream_seq::text AS seq FROM drover.stream_position WHERE source = $1 AND partition = $2',
        [options.source, partition],
      );
      return Number(rows[0]?.seq ?? 0) >= options.seq ? true : undefined;
    },
    {
      everyMs: 25,
      timeoutMs: options.timeoutMs,
      signal: context.signal,
      onTimeout: () =>
        new DroverError('failover.drain_timeout', `the replica of ${options.tenant} did not drain the bus within ${options.timeoutMs} ms`),
    },
  );
}

/** Gives the reader of a dead cluster the moment to publish what it has read already. Its silence is no obstacle. */
export async function waitReaderEmpty(context: StepContext, source: ClusterId, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (performance.now() < deadline && !context.signal.aborted) {
    try {
      const status = await callRpc(context.bus, `cdc.${source}.status`, {}, { timeoutMs: 500 });
      if (isRecord(status) && Number(status['inFlightBytes'] ?? 0) === 0) return;
    } catch (error) {
      if (isCancelled(error)) throw error;
      return;
    }
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

/** SQLSTATE of an error of node-postgres, or of its cause. */
export function sqlState(error: unknown): string | undefined {
  for (let at: unknown = error; isRecord(at); at = at['cause']) {
    if (typeof at['code'] === 'string' && /^[0-9A-Z]{5}$/.test(at['code'])) return at['code'];
  }
  return undefined;
}
