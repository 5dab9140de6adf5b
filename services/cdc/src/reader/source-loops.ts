/** What goes on beside the stream on an ordinary connection: heartbeats, and a look at the slot. Each ends with its signal. */
import { type Lsn, sleep } from '@drover/core';
import { emitHeartbeat, type Queryable } from '@drover/pg';

/** Writes a heartbeat into the source's WAL each `everyMs`, and tells where and when. @throws what the statement threw */
export async function beat(
  client: Queryable,
  everyMs: number,
  signal: AbortSignal,
  onBeat: (lsn: Lsn, atMs: number) => void,
): Promise<void> {
  while (!signal.aborted) {
    const lsn = await emitHeartbeat(client);
    onBeat(lsn, performance.now());
    await sleep(everyMs, signal);
  }
}

export interface SlotHealth {
  readonly walStatus: string | null;
  /** WAL the slot keeps from being removed. */
  readonly retainedBytes: number;
  readonly confirmedLagBytes: number;
  /** Before the slot is lost; null: max_slot_wal_keep_size sets no limit. */
  readonly safeWalBytes: number | null;
}

const LOOK_EVERY_MS = 2000;

export async function watchSlot(
  client: Queryable,
  slot: string,
  signal: AbortSignal,
  observe: (health: SlotHealth) => void,
): Promise<void> {
  while (!signal.aborted) {
    const { rows } = await client.query<Record<'status' | 'retained' | 'confirmed' | 'safe', string | null>>(
      `SELECT wal_status AS status, safe_wal_size::text AS safe,
              (pg_catalog.pg_current_wal_lsn() - restart_lsn)::text AS retained,
              (pg_catalog.pg_current_wal_lsn() - confirmed_flush_lsn)::text AS confirmed
       FROM pg_catalog.pg_replication_slots WHERE slot_name = $1`,
      [slot],
    );
    const row = rows[0];
    if (row !== undefined) {
      observe({
        walStatus: row.status,
        retainedBytes: Number(row.retained ?? 0),
        confirmedLagBytes: Math.max(0, Number(row.confirmed ?? 0)),
        safeWalBytes: row.safe === null ? null : Number(row.safe),
      });
    }
    await sleep(LOOK_EVERY_MS, signal);
  }
}
