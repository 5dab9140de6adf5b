import { describe, expect, it } from 'vitest';
import { createLogger } from './logger.ts';
import { TenantLabel } from './metrics.ts';
import { startTelemetry } from './telemetry.ts';
import { contextFrom } from './tracing.ts';
import { trace } from '@opentelemetry/api';

describe('a service’s signals', () => {
  it('serves metrics in Prometheus text, liveness, and readiness with its reason', async () => {
    let why: string | null = 'waiting for NATS';
    const telemetry = await startTelemetry({ service: 'test', host: '127.0.0.1', port: 0, logLevel: 'error', ready: () => why });
    try {
      telemetry.metrics.counter('drover_test_rows_total', 'Rows').add(3, { tenant: 'acme' });
      telemetry.metrics.gauge('drover_test_lag_seconds', 'Lag').set(0.25);
      telemetry.metrics.histogram('drover_test_wait_seconds', 'Wait').record(0.003);
      const text = await (await fetch(`${telemetry.url}/metrics`)).text();
      expect(text).toMatch(/^drover_test_rows_total\{tenant="acme"\} 3$/m);
      expect(text).toMatch(/^drover_test_lag_seconds 0.25$/m);
      expect(text).toMatch(/^drover_test_wait_seconds_bucket\{le="0.005"\} 1$/m);
      expect((await fetch(`${telemetry.url}/livez`)).status).toBe(200);
      const notReady = await fetch(`${telemetry.url}/readyz`);
      expect([notReady.status, await notReady.text()]).toEqual([503, 'waiting for NATS\n']);
      why = null;
      expect((await fetch(`${telemetry.url}/readyz`)).status).toBe(200);
    } finally {
      await telemetry.close();
    }
  });

  it('says that its port is taken', async () => {
    const first = await startTelemetry({ service: 'a', host: '127.0.0.1', port: 0, logLevel: 'error', ready: () => null });
    const port = Number(new URL(first.url).port);
    await expect(startTelemetry({ service: 'b', host: '127.0.0.1', port, logLevel: 'error', ready: () => null })).rejects.toMatchObject({
      code: 'local.port_in_use',
    });
    await first.close();
  });

  it('refuses metric names against the rules', async () => {
    const telemetry = await startTelemetry({ service: 'test', host: '127.0.0.1', port: 0, logLevel: 'error', ready: () => null });
    expect(() => telemetry.metrics.counter('rows_total', '')).toThrow(/rows_total/);
    expect(() => telemetry.metrics.histogram('drover_wait_ms', '')).toThrow(/drover_wait_ms/);
    await telemetry.close();
  });

  it('logs one JSON object a line, from its level on', () => {
    const lines: string[] = [];
    const log = createLogger({ service: 's', level: 'info', sink: (line) => lines.push(line) }).child({ tenant: 'acme' });
    log.debug('not shown');
    log.info('block applied', { lsn: 12n, error: new Error('x') });
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0]!)).toMatchObject({ level: 'info', service: 's', tenant: 'acme', lsn: '12', error: { message: 'x' } });
  });

  it('bounds the tenant label', () => {
    const label = new TenantLabel(2);
    expect(['a', 'b', 'c', 'a', 'd'].map((t) => label.of(t))).toEqual(['a', 'b', 'other', 'a', 'other']);
  });

  it('carries the trace context through a header, and ignores a malformed one', () => {
    const header = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    expect(trace.getSpanContext(contextFrom(header))?.traceId).toBe('0af7651916cd43dd8448eb211c80319c');
    expect(trace.getSpanContext(contextFrom('nonsense'))).toBeUndefined();
  });
});
