export {
  counter,
  defineMetrics,
  gauge,
  histogram,
  type MetricCatalogue,
  type MetricSpec,
  renderMetrics,
} from './catalogue.ts';
export {
  createLogger,
  type Fields,
  type Logger,
  type LoggerOptions,
  type LogLevel,
  silentLogger,
} from './logger.ts';
export { checkMetricName, type MetricKind, metricNameFault, unitOf } from './metric-names.ts';
export {
  type Counter,
  type Gauge,
  type Histogram,
  type Labels,
  type Metrics,
  metricsOf,
  TenantLabel,
} from './metrics.ts';
export { startTelemetry, type Telemetry, type TelemetryOptions } from './telemetry.ts';
export { contextFrom, traceparentOf } from './tracing.ts';
