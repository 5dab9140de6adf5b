/** Every metric of this service: name, unit and labels in one place. Labels are cluster and database, never a tenant. */
import type { Metrics } from '@drover/telemetry';

export type CdcMetrics = ReturnType<typeof cdcMetrics>;

export function cdcMetrics(metrics: Metrics) {
  const counter = (name: string, help: string) => metrics.counter(`drover_cdc_${name}_total`, help);
  const gauge = (name: string, help: string) => metrics.gauge(`drover_cdc_${name}`, help);
  return {
    rows: counter('rows', 'Row changes put into blocks.'),
    transactions: counter('transactions', 'Source transactions with captured changes.'),
    resent: counter('resent_rows', 'Row changes left out because the stream had them already.'),
    moves: counter('moved_rows', 'Rows that went from one tenant to another.'),
    unassigned: counter('unassigned_rows', 'Row changes without a tenant, by reason.'),
    blocks: counter('blocks', 'Blocks acknowledged by JetStream.'),
    bytes: counter('published_bytes', 'Bytes of blocks acknowledged by JetStream.'),
    inFlight: gauge('in_flight_bytes', 'Bytes published and not acknowledged.'),
    held: gauge('held_bytes', 'Bytes in open blocks and in flight; reading pauses above the bound.'),
    paused: gauge('paused_seconds', 'Seconds for which reading has been paused since it began.'),
    confirmedLag: gauge('confirmed_lag_bytes', 'WAL written and not yet confirmed by this reader.'),
    retained: gauge('slot_retained_bytes', 'WAL the slot keeps on the source.'),
    safeWal: gauge(
      'slot_safe_wal_bytes',
      'WAL that may still be written before the slot is lost; -1: no limit.',
    ),
    streaming: gauge('streaming', '1 while the database is being read.'),
    ackSeconds: metrics.histogram(
      'drover_cdc_publish_ack_seconds',
      'From publishing a flush group to its acknowledgement.',
    ),
  };
}
