/** A service's signals in one place: logs, metrics with their HTTP endpoint, health, traces. Closing flushes, within a bound. */
import { type Closeable, sleep } from '@drover/core';
import type { Tracer } from '@opentelemetry/api';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { serveSignals } from './http.ts';
import { createLogger, type Logger, type LogLevel } from './logger.ts';
import { type Metrics, metricsOf } from './metrics.ts';

export interface TelemetryOptions {
  readonly service: string;
  /** Tells processes of one service apart, e.g. the cluster. */
  readonly instance?: string;
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly logLevel: LogLevel;
  /** OpenTelemetry collector, e.g. `http://collector:4318`. Without one no span is recorded. */
  readonly otlpUrl?: string;
  /** Null when ready, otherwise why not. */
  readonly ready: () => string | null;
  /** What works and will not for long: told by /readyz, which stays as it is. */
  readonly warnings?: () => readonly string[];
  /** Where log lines go; default: standard error. */
  readonly logSink?: (line: string) => void;
}

export interface Telemetry extends Closeable {
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Null: nobody collects spans, and none is made. */
  readonly tracer: Tracer | null;
  /** `http://host:port`, with `/metrics`, `/livez`, `/readyz`. */
  readonly url: string;
}

/** A collector that does not answer must not keep a service from ending. */
const FLUSH_MS = 2000;

/** @throws DroverError `local.port_in_use`, `config.invalid` */
export async function startTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  const name = options.instance === undefined ? options.service : `${options.service}-${options.instance}`;
  const log = createLogger({
    service: name,
    level: options.logLevel,
    ...(options.logSink === undefined ? {} : { sink: options.logSink }),
  });
  const resource = resourceFromAttributes({
    'service.name': `drover-${options.service}`,
    'service.instance.id': name,
  });
  const exporter = new PrometheusExporter({
    preventServerStart: true,
    withoutScopeInfo: true,
    withoutTargetInfo: true,
  });
  const server = await serveSignals({
    name,
    host: options.host,
    port: options.port,
    metrics: (request, response) => exporter.getMetricsRequestHandler(request, response),
    ready: options.ready,
    ...(options.warnings === undefined ? {} : { warnings: options.warnings }),
  });
  const meters = new MeterProvider({ resource, readers: [exporter] });
  const tracers =
    options.otlpUrl === undefined
      ? null
      : new TracerProvider({
          resource,
          spanProcessors: [
            new BatchSpanProcessor({ exporter: new OTLPTraceExporter({ url: tracesUrl(options.otlpUrl) }) }),
          ],
        });
  return {
    log,
    metrics: metricsOf(meters.getMeter('drover')),
    tracer: tracers?.getTracer('drover') ?? null,
    url: server.url,
    close: async () => {
      await server.close();
      const done = new AbortController();
      const flushed = Promise.allSettled([tracers?.shutdown(), meters.shutdown()]).then(() => done.abort());
      await Promise.race([flushed, sleep(FLUSH_MS, done.signal)]);
    },
  };
}

function tracesUrl(otlpUrl: string): string {
  return `${otlpUrl.replace(/\/+$/, '')}/v1/traces`;
}
