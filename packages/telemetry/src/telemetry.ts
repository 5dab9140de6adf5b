/** A service's signals in one place: logs, metrics with their HTTP endpoint, health, traces. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Closeable, DroverError } from '@drover/core';
import type { Tracer } from '@opentelemetry/api';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { AlwaysOffSampler, BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
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
  readonly otlpUrl?: string;
  /** Null when ready, otherwise why not. */
  readonly ready: () => string | null;
}

export interface Telemetry extends Closeable {
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly tracer: Tracer;
  /** `http://host:port`, with `/metrics`, `/livez`, `/readyz`. */
  readonly url: string;
}

/** @throws DroverError `local.port_in_use` */
export async function startTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  const name = options.instance === undefined ? options.service : `${options.service}-${options.instance}`;
  const log = createLogger({ service: name, level: options.logLevel });
  const resource = resourceFromAttributes({ 'service.name': `drover-${options.service}`, 'service.instance.id': name });
  const exporter = new PrometheusExporter({ preventServerStart: true, withoutScopeInfo: true, withoutTargetInfo: true });
  const meters = new MeterProvider({ resource, readers: [exporter] });
  const tracers = new TracerProvider(
    options.otlpUrl === undefined
      ? { resource, sampler: new AlwaysOffSampler() }
      : { resource, spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter({ url: `${options.otlpUrl}/v1/traces` }) })] },
  );
  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0];
    const plain = (status: number, text: string) => {
      response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
      response.end(`${text}\n`);
    };
    if (path === '/metrics') exporter.getMetricsRequestHandler(request, response);
    else if (path === '/livez') plain(200, 'ok');
    else if (path === '/readyz') {
      const why = options.ready();
      plain(why === null ? 200 : 503, why ?? 'ok');
    } else plain(404, 'try /metrics, /livez or /readyz');
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE';
      reject(
        taken
          ? new DroverError('local.port_in_use', `port ${options.port} for ${name}'s metrics is taken`, {
              hint: 'choose another [telemetry] port',
              cause: error,
            })
          : error,
      );
    });
    server.listen(options.port, options.host, resolve);
  });
  server.unref();
  const { port } = server.address() as AddressInfo;
  return {
    log,
    metrics: metricsOf(meters.getMeter('drover')),
    tracer: tracers.getTracer('drover'),
    url: `http://${options.host}:${port}`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await meters.shutdown().catch(() => undefined);
      await tracers.shutdown().catch(() => undefined);
    },
  };
}
