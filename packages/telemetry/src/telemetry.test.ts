import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { afterEach, describe, expect, it } from 'vitest';
import { counter, defineMetrics, gauge, histogram } from './catalogue.ts';
import { startTelemetry, type Telemetry, type TelemetryOptions } from './telemetry.ts';
import { contextFrom, traceparentOf } from './tracing.ts';

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const part of open.splice(0).reverse()) await part.close();
});

async function start(options: Partial<TelemetryOptions> = {}): Promise<Telemetry> {
  const telemetry = await startTelemetry({
    service: 'test',
    host: '127.0.0.1',
    port: 0,
    logLevel: 'error',
    ready: () => null,
    ...options,
  });
  open.push(telemetry);
  return telemetry;
}

describe('a service’s HTTP endpoint', () => {
  it('serves metrics as Prometheus text', async () => {
    const { metrics, url } = await start();
    const m = defineMetrics({
      rows: counter('drover_test_rows_total', 'Rows.', ['tenant']),
      lag: gauge('drover_test_lag_seconds', 'Lag.'),
      wait: histogram('drover_test_wait_seconds', 'Wait.', [], [0.001, 0.005]),
    }).on(metrics);
    m.rows.add(3, { tenant: 'ac"me' });
    m.lag.set(0.25);
    m.wait.record(0.003);
    const response = await fetch(`${url}/metrics`);
    const text = await response.text();
    expect(response.headers.get('content-type')).toMatch(/^text\/plain/);
    expect(text).toMatch(/^# HELP drover_test_rows_total Rows\.$/m);
    expect(text).toMatch(/^# TYPE drover_test_rows_total counter$/m);
    expect(text).toMatch(/^drover_test_rows_total\{tenant="ac\\"me"\} 3$/m);
    expect(text).toMatch(/^drover_test_lag_seconds 0\.25$/m);
    expect(text).toMatch(/^drover_test_wait_seconds_bucket\{le="0\.001"\} 0$/m);
    expect(text).toMatch(/^drover_test_wait_seconds_bucket\{le="0\.005"\} 1$/m);
  });

  it('says whether it lives and why it is not ready', async () => {
    let ready = (): string | null => 'waiting for NATS';
    const { url } = await start({ ready: () => ready() });
    const probe = async (path: string, method = 'GET') => {
      const response = await fetch(url + path, { method });
      return [response.status, await response.text()];
    };
    expect(await probe('/livez')).toEqual([200, 'ok\n']);
    expect(await probe('/readyz?verbose')).toEqual([503, 'waiting for NATS\n']);
    ready = () => null;
    expect(await probe('/readyz')).toEqual([200, 'ok\n']);
    ready = () => {
      throw new Error('broken');
    };
    expect(await probe('/readyz')).toEqual([503, 'broken\n']);
    expect((await probe('/secret'))[0]).toBe(404);
    expect((await probe('/metrics', 'POST'))[0]).toBe(405);
  });

  it('names the option when it cannot listen', async () => {
    const port = Number(new URL((await start()).url).port);
    await expect(start({ port })).rejects.toMatchObject({
      code: 'local.port_in_use',
      hint: /\[telemetry\] port/,
    });
    await expect(start({ host: '192.0.2.1' })).rejects.toMatchObject({
      code: 'config.invalid',
      hint: /\[telemetry\] host/,
    });
  });
});

describe('traces', () => {
  it('go on across a message header and reach the collector', async () => {
    const bodies: string[] = [];
    const collector = createServer((request, response) => {
      request.setEncoding('utf8').on('data', (chunk: string) => bodies.push(`${request.url} ${chunk}`));
      request.on('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'));
    });
    await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
    const { port } = collector.address() as AddressInfo;
    const telemetry = await startTelemetry({
      service: 'test',
      host: '127.0.0.1',
      port: 0,
      logLevel: 'error',
      ready: () => null,
      otlpUrl: `http://127.0.0.1:${port}/`,
    });
    const commit = telemetry.tracer!.startSpan('commit');
    const header = traceparentOf(commit);
    const apply = telemetry.tracer!.startSpan('apply', {}, contextFrom(header));
    expect(apply.spanContext().traceId).toBe(commit.spanContext().traceId);
    apply.end();
    commit.end();
    await telemetry.close();
    collector.closeAllConnections();
    await new Promise((resolve) => collector.close(resolve));
    expect(header).toBe(`00-${commit.spanContext().traceId}-${commit.spanContext().spanId}-01`);
    const sent = bodies.join('');
    expect(sent).toMatch(/^\/v1\/traces /);
    expect(sent).toContain('"commit"');
    expect(sent).toContain(`"parentSpanId":"${commit.spanContext().spanId}"`);
  });

  it('are not made without a collector', async () => {
    expect((await start()).tracer).toBeNull();
  });

  it('do not keep a service from ending when the collector is gone', async () => {
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as AddressInfo;
    const telemetry = await startTelemetry({
      service: 'test',
      host: '127.0.0.1',
      port: 0,
      logLevel: 'error',
      ready: () => null,
      otlpUrl: `http://127.0.0.1:${port}`,
    });
    telemetry.tracer!.startSpan('commit').end();
    const began = performance.now();
    await telemetry.close();
    expect(performance.now() - began).toBeLessThan(9000); // not the exporter's own 10 s
    silent.closeAllConnections();
    await new Promise((resolve) => silent.close(resolve));
  });

  const header = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  it('read a header of this and of a later version', () => {
    for (const text of [header, `${header.replace(/^00/, '01')}-more`]) {
      expect(trace.getSpanContext(contextFrom(text))).toMatchObject({
        traceId: '0af7651916cd43dd8448eb211c80319c',
        spanId: 'b7ad6b7169203331',
        traceFlags: 1,
        isRemote: true,
      });
    }
  });

  it.each([
    undefined,
    '',
    'nonsense',
    `${header}-more`,
    header.replace(/^00/, 'ff'),
    header.toUpperCase(),
    header.replace('0af7651916cd43dd8448eb211c80319c', '0'.repeat(32)),
    header.replace('b7ad6b7169203331', '0'.repeat(16)),
  ])('ignore the malformed header %s', (text) => {
    expect(contextFrom(text)).toBe(ROOT_CONTEXT);
  });
});
