/** The controller's metrics. */
import { counter, defineMetrics, gauge, histogram } from '@drover/telemetry';

export const failoverMetrics = defineMetrics({
  leader: gauge('drover_failover_leader', '1 while this instance holds the leader lease.'),
  health: gauge(
    'drover_cluster_health_ratio',
    'Share of healthy signals over a cluster, 0 to 1; ranks and warns only.',
    ['cluster'],
  ),
  moves: counter('drover_failover_moves_total', 'Tasks of the leader that have ended.', ['kind', 'outcome']),
  moveSeconds: histogram('drover_failover_move_seconds', 'Duration of a task of the leader.', ['kind']),
});

export type FailoverMetrics = ReturnType<typeof failoverMetrics.on>;
