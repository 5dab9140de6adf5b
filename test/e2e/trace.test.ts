/** One trace from the commit on the source to the transaction that makes it visible on the replica, as a collector gets it. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tenantId, tenantToken } from '@drover/core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually, System } from './system.ts';

interface Sent {
  readonly service: string;
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly attributes: Readonly<Record<string, string>>;
}

/** What services send: OTLP over HTTP, as JSON. */
class Collector {
  readonly spans: Sent[] = [];
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async listen(): Promise<Collector> {
    const server = createServer();
    const collector = new Collector(server);
    server.on('request', (request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      request.on('end', () => {
        if (request.url === '/v1/traces') collector.spans.push(...spansOf(body));
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return collector;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

interface Attribute {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}
type RawSpan = Omit<Sent, 'service' | 'startNs' | 'endNs' | 'attributes'> & {
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly Attribute[];
};

function spansOf(body: string): Sent[] {
  const { resourceSpans } = JSON.parse(body) as {
    resourceSpans: { resource: { attributes: Attribute[] }; scopeSpans: { spans: RawSpan[] }[] }[];
  };
  return resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans
      .flatMap(({ spans }) => spans)
      .map((span) => ({
        ...span,
        service: valuesOf(resource.attributes)['service.name'] ?? '',
        startNs: BigInt(span.startTimeUnixNano),
        endNs: BigInt(span.endTimeUnixNano),
        attributes: valuesOf(span.attributes),
      })),
  );
}

function valuesOf(attributes: readonly Attribute[]): Record<string, string> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, String(Object.values(value)[0])]));
}

let collector: Collector;
let system: System;

beforeAll(async () => {
  collector = await Collector.listen();
  system = await System.start(System.folder(), [
    '--seed-tenants',
    '2',
    '--no-demo-load',
    '--otlp-url',
    collector.url,
  ]);
});
afterAll(async () => {
  await system.stop();
  system.remove();
  await collector.close();
});

it('a change is one trace: published by cdc, applied on the replica', async () => {
  // What the system began with has passed.
  await system.asTenant('t01', `INSERT INTO activity (tenant_id, kind, body) VALUES ('t01', 'first', 'x')`);
  await eventually('the first row is at west', async () => {
    const rows = await system.sql('west', `SELECT FROM activity WHERE tenant_id = 't01' AND kind = 'first'`);
    return rows.length === 1 || undefined;
  });
  const began = BigInt(Date.now()) * 1_000_000n;
  await system.asTenant('t01', `INSERT INTO activity (tenant_id, kind, body) VALUES ('t01', 'traced', 'x')`);
  await eventually('the row is at west', async () => {
    const rows = await system.sql('west', `SELECT FROM activity WHERE tenant_id = 't01' AND kind = 'traced'`);
    return rows.length === 1 || undefined;
  });
  const published = await eventually('the span of cdc', async () =>
    collector.spans.find(
      (span) =>
        span.service === 'drover-cdc' &&
        span.attributes['drover.token'] === tenantToken(tenantId('t01')) &&
        span.startNs >= began,
    ),
  );
  const applied = await eventually('the span of apply', async () =>
    collector.spans.find((span) => span.service === 'drover-apply' && span.traceId === published.traceId),
  );
  expect(published.name).toBe('cdc.block');
  expect(published.parentSpanId ?? '').toBe('');
  expect(Number(published.attributes['drover.bytes'])).toBeGreaterThan(0);
  const [row] = await system.sql(
    'west',
    `SELECT commit_lsn::text AS lsn FROM drover.tenant WHERE tenant = 't01'`,
  );
  expect(published.attributes['drover.lsn']).toBe(row?.['lsn']);
  expect(applied).toMatchObject({
    name: 'apply',
    parentSpanId: published.spanId,
    attributes: { 'drover.cluster': 'west', 'drover.tenant': 't01', 'drover.changes': '1' },
  });
  expect(applied.endNs).toBeGreaterThan(published.startNs);
  // Another change is another trace.
  await system.asTenant(
    't01',
    `INSERT INTO activity (tenant_id, kind, body) VALUES ('t01', 'traced too', 'x')`,
  );
  await eventually('the second trace', async () =>
    collector.spans.find(
      (span) =>
        span.service === 'drover-apply' &&
        span.attributes['drover.tenant'] === 't01' &&
        span.startNs > published.startNs &&
        span.traceId !== published.traceId,
    ),
  );
});
