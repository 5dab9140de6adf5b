/** What `pg_replication_slots` says about one slot, on PostgreSQL 16, 17 and 18. */
import { type Lsn, parseLsn } from '@drover/core';
import type { Queryable } from '../connect.ts';
import { quoteLiteral } from '../quote.ts';

export interface Slot {
  readonly exists: boolean;
  readonly active: boolean;
  /** Backend that holds it. */
  readonly activePid: number | null;
  readonly plugin: string | null;
  readonly database: string | null;
  /** `lost`: the slot can never be read again. */
  readonly walStatus: 'reserved' | 'extended' | 'unreserved' | 'lost' | null;
  /** Bytes of WAL that may still be written before the slot is in danger; null: no limit is set. */
  readonly safeWalSize: number | null;
  readonly confirmedFlush: Lsn | null;
  readonly restartLsn: Lsn | null;
  /** Why it was invalidated, in the words of PostgreSQL 17 and 18: `wal_removed`, `rows_removed`, `wal_level_insufficient`, `idle_timeout`. */
  readonly invalidationReason: string | null;
  readonly twoPhase: boolean;
  /** Carried over to physical standbys (17 and newer). */
  readonly failover: boolean;
}

interface SlotRow extends Record<string, unknown> {
  active: string;
  active_pid: string | null;
  plugin: string | null;
  database: string | null;
  wal_status: string | null;
  safe_wal_size: string | null;
  confirmed_flush_lsn: string | null;
  restart_lsn: string | null;
  invalidation_reason: string | null;
  conflicting: string | null;
  two_phase: string | null;
  failover: string | null;
}

const NO_SLOT: Slot = {
  exists: false,
  active: false,
  activePid: null,
  plugin: null,
  database: null,
  walStatus: null,
  safeWalSize: null,
  confirmedFlush: null,
  restartLsn: null,
  invalidationReason: null,
  twoPhase: false,
  failover: false,
};

const WAL_STATUS: ReadonlySet<string> = new Set(['reserved', 'extended', 'unreserved', 'lost']);

/**
 * Reads through jsonb, so that columns a major does not have are NULL (`invalidation_reason` and `failover` came with
 * 17). The name is a literal because replication connections, which may call this, take no parameters (manual, 54.4).
 */
export async function readSlot(client: Queryable, slot: string): Promise<Slot> {
  const { rows } = await client.query<SlotRow>(
    `SELECT s->>'active' AS active, s->>'active_pid' AS active_pid, s->>'plugin' AS plugin, s->>'database' AS database,
            s->>'wal_status' AS wal_status, s->>'safe_wal_size' AS safe_wal_size,
            s->>'confirmed_flush_lsn' AS confirmed_flush_lsn, s->>'restart_lsn' AS restart_lsn,
            s->>'invalidation_reason' AS invalidation_reason, s->>'conflicting' AS conflicting,
            s->>'two_phase' AS two_phase, s->>'failover' AS failover
       FROM (SELECT pg_catalog.to_jsonb(v) AS s FROM pg_catalog.pg_replication_slots v
              WHERE v.slot_name = ${quoteLiteral(slot)}) x`,
  );
  const row = rows[0];
  return row === undefined ? NO_SLOT : slotFromRow(row);
}

/** Pure. */
export function slotFromRow(row: SlotRow): Slot {
  const walStatus = row.wal_status !== null && WAL_STATUS.has(row.wal_status) ? row.wal_status : null;
  // 16 says only that, not why; it forgets restart_lsn when the WAL is gone, and only then.
  const lost = walStatus === 'lost' || row.conflicting === 'true';
  const before17 = lost ? (row.restart_lsn === null ? 'wal_removed' : 'rows_removed') : null;
  return {
    exists: true,
    active: row.active === 'true',
    activePid: row.active_pid === null ? null : Number(row.active_pid),
    plugin: row.plugin,
    database: row.database,
    walStatus: walStatus as Slot['walStatus'], // a member of the set above
    safeWalSize: row.safe_wal_size === null ? null : Number(row.safe_wal_size),
    confirmedFlush: row.confirmed_flush_lsn === null ? null : parseLsn(row.confirmed_flush_lsn),
    restartLsn: row.restart_lsn === null ? null : parseLsn(row.restart_lsn),
    invalidationReason: row.invalidation_reason ?? before17,
    twoPhase: row.two_phase === 'true',
    failover: row.failover === 'true',
  };
}
