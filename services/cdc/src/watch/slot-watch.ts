/**
 * Looks at the slot of one database on a connection of its own, whether or not anybody reads it: also while NATS is away, or another reader
 * holds the lease, the source keeps WAL. What changes is logged once.
 */
import { Backoff, type ClusterId, describeError, formatLsn, type Lsn, parseLsn, sleep } from '@drover/core';
import { type ConnectOptions, connectPg, discard, type Queryable, slotName } from '@drover/pg';
import type { Logger } from '@drover/telemetry';
import type { CdcMetrics } from '../metrics.ts';
import { inTime } from '../reader/patience.ts';
import { type SlotBounds, type SlotHealth, SlotJudge, type SlotLook } from './slot-health.ts';

export interface SlotWatchOptions {
  readonly cluster: ClusterId;
  readonly database: string;
  readonly connect: ConnectOptions;
  readonly bounds: SlotBounds;
  readonly log: Logger;
  readonly metrics: CdcMetrics;
  /** Who keeps the reader from confirming what is in the stream already. */
  readonly heldBy: () => string | null;
}

const LOOK_EVERY_MS = 2000;
const PATIENCE_MS = 5000;
/** Statuses of a slot that `drover_cdc_slot_status` has a series for. */
const STATUSES = ['reserved', 'extended', 'unreserved', 'lost', 'missing'] as const;

export class SlotWatch {
  readonly #options: SlotWatchOptions;
  readonly #judge: SlotJudge;
  readonly #told = new Set<string>();
  #health: SlotHealth | null = null;

  constructor(options: SlotWatchOptions) {
    this.#options = options;
    this.#judge = new SlotJudge(slotName(options.database), options.bounds);
  }

  get database(): string {
    return this.#options.database;
  }

  /** As of the last look; null: none yet, or the source does not answer. */
  get health(): SlotHealth | null {
    return this.#health;
  }

  /** Until the signal aborts; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const { connect, log } = this.#options;
    const backoff = new Backoff(500, 5000);
    while (!signal.aborted) {
      try {
        const client = await connectPg({
          ...connect,
          applicationName: 'drover cdc watch',
          statementTimeoutMs: 5000,
        });
        try {
          while (!signal.aborted) {
            this.#observe(await inTime(lookAt(client, slotName(this.database)), PATIENCE_MS));
            backoff.reset();
            await sleep(LOOK_EVERY_MS, signal);
          }
        } finally {
          await discard(client); // may be half open
        }
      } catch (error) {
        this.#health = null;
        log.debug('the slot cannot be looked at', { error: describeError(error) });
        await sleep(backoff.nextMs(), signal);
      }
    }
  }

  #observe(look: SlotLook): void {
    const { cluster, database, metrics, heldBy } = this.#options;
    const health = this.#judge.judge(look, heldBy());
    this.#health = health;
    const labels = { cluster, database };
    metrics.confirmedLag.set(health.confirmedLagBytes, labels);
    metrics.retained.set(health.retainedBytes, labels);
    metrics.safeWal.set(health.safeWalBytes ?? -1, labels);
    metrics.walRate.set(health.walBytesPerSecond, labels);
    metrics.secondsLeft.set(health.secondsLeft ?? -1, labels);
    metrics.inactive.set(
      health.inactiveSinceMs === null ? 0 : Math.max(0, look.atMs - health.inactiveSinceMs) / 1000,
      labels,
    );
    for (const status of STATUSES)
      metrics.slotStatus.set(status === health.walStatus ? 1 : 0, { ...labels, state: status });
    metrics.warnings.set(health.warnings.length, labels);
    this.#tell(look.walLsn, health);
  }

  /** Figures change with each look; what is wrong is told once, and once more when it is over. */
  #tell(walLsn: Lsn, health: SlotHealth): void {
    const { log } = this.#options;
    const kinds = new Set(health.warnings.map((warning) => warning.replace(/[\d.]+( \w+)?/g, '#')));
    for (const [i, kind] of [...kinds].entries()) {
      if (this.#told.has(kind)) continue;
      this.#told.add(kind);
      const { warnings: _, ...facts } = health;
      log.warn('the slot needs attention', {
        warning: health.warnings[i],
        walEnd: formatLsn(walLsn),
        ...facts,
      });
    }
    for (const kind of this.#told) {
      if (kinds.has(kind)) continue;
      this.#told.delete(kind);
      if (kinds.size === 0) log.info('the slot is well again', { retainedBytes: health.retainedBytes });
    }
  }
}

export async function lookAt(client: Queryable, name: string): Promise<SlotLook> {
  const { rows } = await client.query<Record<string, string | null>>(
    // Columns that came with 17 are read through json, which knows no missing columns.
    `SELECT w.lsn::text AS wal, (s ->> 'wal_status') AS status, (s ->> 'active') AS active,
            (s ->> 'safe_wal_size') AS safe, (s ->> 'restart_lsn') AS restart, (s ->> 'confirmed_flush_lsn') AS confirmed,
            coalesce(s ->> 'invalidation_reason',
                     CASE WHEN (s ->> 'conflicting')::boolean THEN 'rows_removed' END) AS reason,
            (extract(epoch FROM (s ->> 'inactive_since')::timestamptz) * 1000)::int8::text AS inactive,
            (s IS NOT NULL)::text AS there, (extract(epoch FROM pg_catalog.now()) * 1000)::int8::text AS at
     FROM (SELECT pg_catalog.pg_current_wal_lsn() AS lsn) w
     LEFT JOIN (SELECT pg_catalog.to_jsonb(r) AS s FROM pg_catalog.pg_replication_slots r WHERE r.slot_name = $1) x ON true`,
    [name],
  );
  const row = rows[0] ?? {};
  const lsnOf = (text: string | null | undefined) => (text == null ? null : parseLsn(text));
  return {
    atMs: Number(row['at'] ?? 0),
    walLsn: lsnOf(row['wal']) ?? (0n as Lsn),
    slot:
      row['there'] !== 'true'
        ? null
        : {
            walStatus: row['status'] ?? null,
            invalidationReason: row['reason'] ?? null,
            inactiveSinceMs: row['inactive'] == null ? null : Number(row['inactive']),
            active: row['active'] === 'true',
            restartLsn: lsnOf(row['restart']),
            confirmedLsn: lsnOf(row['confirmed']),
            safeWalBytes: row['safe'] == null ? null : Number(row['safe']),
          },
  };
}
