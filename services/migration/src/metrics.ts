/** The migration service's metrics. */
import { counter, defineMetrics, gauge } from '@drover/telemetry';

export const migrationMetrics = defineMetrics({
  rows: counter('drover_copy_rows_total', 'Rows copied to replicas.'),
  running: gauge('drover_copy_running', 'Copies under way.'),
});
