/** The control plane's metrics. */
import { counter, defineMetrics, gauge, histogram } from '@drover/telemetry';

export const controlMetrics = defineMetrics({
  calls: counter(
    'drover_control_calls_total',
    'gRPC calls that have ended; code is `ok` or the error’s code.',
    ['method', 'code'],
  ),
  seconds: histogram('drover_control_call_seconds', 'Duration of gRPC calls; of streams, until they end.', [
    'method',
  ]),
  serving: gauge('drover_control_serving', '1 while requests are served: NATS answers.'),
});
