/** The controller's metrics. */
import type { Metrics } from '@drover/telemetry';

export function failoverMetrics(metrics: Metrics) {
  return {
    leader: metrics.gauge('drover_failover_leader', '1 while this instance holds the leader lease'),
    health: metrics.gauge(
      'drover_cluster_health_score',
      'Share of healthy signals over a cluster, 0 to 100; ranks and warns only',
    ),
    moves: metrics.counter('drover_failover_moves_total', 'Tasks of the leader by kind and outcome'),
    moveSeconds: metrics.histogram(
      'drover_failover_move_seconds',
      'Duration of a task of the leader by kind',
    ),
  };
}
