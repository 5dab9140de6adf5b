/** The reader's metrics. Clusters and databases are those of the configuration; no metric names a tenant. */
import { counter, defineMetrics, gauge, histogram } from '@drover/telemetry';

const READER = ['cluster', 'database'] as const;

export const cdcMetrics = defineMetrics({
  rows: counter('drover_cdc_rows_total', 'Row changes put into blocks.', READER),
  transactions: counter(
    'drover_cdc_transactions_total',
    'Source transactions with captured changes.',
    READER,
  ),
  resent: counter(
    'drover_cdc_resent_rows_total',
    'Row changes left out because the stream had them already.',
    READER,
  ),
  moves: counter('drover_cdc_moved_rows_total', 'Rows that went from one tenant to another.', READER),
  unassigned: counter('drover_cdc_unassigned_rows_total', 'Row changes without a tenant, by reason.', [
    ...READER,
    'reason',
  ]),
  withheld: counter(
    'drover_cdc_withheld_transactions_total',
    'Transactions of tenants from which rows were withheld, because a rule of [[transform]] could not be carried out.',
    READER,
  ),
  blocks: counter(
    'drover_cdc_blocks_total',
    'Blocks acknowledged by JetStream, with those of profiles.',
    READER,
  ),
  bytes: counter('drover_cdc_published_bytes_total', 'Bytes of blocks acknowledged by JetStream.', READER),
  rawBytes: counter('drover_cdc_raw_bytes_total', 'Bytes of blocks before compression.', READER),
  faults: counter(
    'drover_cdc_columns_faults_total',
    'Blocks stored otherwise because of a fault in the encoding as columns: a bug to be reported; nothing is lost.',
    READER,
  ),
  profiled: counter(
    'drover_cdc_profile_blocks_total',
    'Small blocks stored by a profile of their tenant.',
    READER,
  ),
  profiles: gauge('drover_cdc_profiles', 'Profiles of tenants in use.', READER),
  profileFaults: counter(
    'drover_cdc_profile_faults_total',
    'Blocks stored otherwise, and profiles not learnt, because of a fault in the encoding by profiles: a bug to be reported; nothing is lost.',
    READER,
  ),
  sealed: counter(
    'drover_cdc_sealed_blocks_total',
    'Blocks of sealed tenants, encrypted with their keys.',
    READER,
  ),
  keyMissing: gauge(
    'drover_cdc_key_missing',
    'Tenants that are to be sealed and whose keys cannot be had: the reader waits for one of them, or their rows are withheld.',
    READER,
  ),
  inFlight: gauge('drover_cdc_in_flight_bytes', 'Bytes published and not acknowledged.', READER),
  held: gauge(
    'drover_cdc_held_bytes',
    'Bytes in open blocks and in flight, above whose bound reading pauses, and of transactions in progress that wait.',
    READER,
  ),
  paused: counter(
    'drover_cdc_paused_seconds_total',
    'Time for which reading was paused because the bound of held bytes was reached.',
    READER,
  ),
  confirmedLag: gauge(
    'drover_cdc_confirmed_lag_bytes',
    'WAL written and not yet confirmed by this reader.',
    READER,
  ),
  retained: gauge('drover_cdc_slot_retained_bytes', 'WAL the slot keeps on the source.', READER),
  safeWal: gauge(
    'drover_cdc_slot_safe_wal_bytes',
    'WAL that may still be written before the slot is lost; -1: no limit.',
    READER,
  ),
  walRate: gauge(
    'drover_cdc_wal_rate_bytes',
    'WAL the source writes in a second, over the last minute.',
    READER,
  ),
  secondsLeft: gauge(
    'drover_cdc_slot_invalidation_seconds',
    'Until the slot may be invalidated, at the rate at which WAL is written now; -1: no limit, or nothing is written.',
    READER,
  ),
  inactive: gauge(
    'drover_cdc_slot_inactive_seconds',
    'For how long nobody has read the slot; 0: it is read (or PostgreSQL 16, which does not say).',
    READER,
  ),
  slotStatus: gauge(
    'drover_cdc_slot_status',
    '1 at the status the slot has: reserved, extended, unreserved, lost, missing.',
    [...READER, 'state'],
  ),
  warnings: gauge('drover_cdc_slot_warnings', 'Bounds of the slot that are exceeded.', READER),
  replicaLag: gauge(
    'drover_cdc_replica_lag_bytes',
    'How far the slowest replica is behind what the bus has acknowledged; durability `applied` holds the slot back by it.',
    READER,
  ),
  streaming: gauge('drover_cdc_streaming', '1 while the database is being read.', READER),
  ackSeconds: histogram(
    'drover_cdc_publish_ack_seconds',
    'From publishing a flush group to its acknowledgement.',
    READER,
  ),
});

export type CdcMetrics = ReturnType<typeof cdcMetrics.on>;
