import { createRequire } from 'node:module';
import { DroverError } from '@drover/core';
import * as grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { createClient, FailoverService, type Handlers, implementationOf, type RpcServer, startServer } from './index.ts';

let server: RpcServer | undefined;
afterEach(async () => {
  await server?.close();
});

const handlers: Handlers<typeof FailoverService> = {
  failoverTenant: async function* (request) {
    yield { step: 'hold' };
    if (request.tenant === 'nobody') throw new DroverError('tenant.unknown', 'there is no tenant nobody', { hint: 'see `drover tenant list` – all' });
    yield { done: true, tenant: { tenant: request.tenant, epoch: 2n } };
  },
  getFailoverStatus: async () => ({ leader: 'l1', clusters: [{ cluster: 'east', state: 'up', score: 100 }] }),
  setFailoverPaused: async (request) => ({ paused: request.paused }),
  listFailoverHistory: (_request, signal) =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(new DroverError('internal.cancelled', 'cancelled')))),
};

async function start() {
  server = await startServer({
    host: '127.0.0.1',
    port: 0,
    services: [{ service: FailoverService, implementation: implementationOf(FailoverService, handlers) }],
  });
  return `127.0.0.1:${server.port}`;
}

describe('gRPC over the generated code', () => {
  it('answers unary and streaming calls', async () => {
    const client = createClient(FailoverService, await start());
    expect(await client.getFailoverStatus({})).toMatchObject({ leader: 'l1', clusters: [{ cluster: 'east', score: 100 }] });
    const seen = [];
    for await (const answer of client.failoverTenant({ tenant: 'acme', to: 'west' })) seen.push(answer);
    expect(seen).toMatchObject([{ step: 'hold', done: false }, { done: true, tenant: { tenant: 'acme', epoch: 2n } }]);
    client.close();
  });

  it('keeps the code and the hint of an error', async () => {
    const client = createClient(FailoverService, await start());
    const read = async () => {
      for await (const _ of client.failoverTenant({ tenant: 'nobody' }));
    };
    await expect(read()).rejects.toMatchObject({ code: 'tenant.unknown', hint: 'see `drover tenant list` – all' });
    client.close();
  });

  it('honours a deadline and says when nobody listens', async () => {
    const client = createClient(FailoverService, await start());
    await expect(client.listFailoverHistory({}, { deadlineMs: 100 })).rejects.toMatchObject({ code: 'rpc.unavailable' });
    client.close();
    const nobody = createClient(FailoverService, '127.0.0.1:1');
    await expect(nobody.getFailoverStatus({}, { deadlineMs: 2000 })).rejects.toMatchObject({ code: 'rpc.unavailable' });
    nobody.close();
  });

  it('serves health, and reflection that names the service', async () => {
    const address = await start();
    const require = createRequire(import.meta.url);
    const { service } = require('grpc-health-check') as typeof import('grpc-health-check');
    const Health = grpc.makeClientConstructor(service as grpc.ServiceDefinition, 'Health');
    const health = new Health(address, grpc.credentials.createInsecure());
    const check = () =>
      new Promise<{ status: string }>((resolve, reject) =>
        health['check']!({ service: 'drover.v1.FailoverService' }, (error: Error | null, value: { status: string }) =>
          error ? reject(error) : resolve(value),
        ),
      );
    expect((await check()).status).toBe('SERVING');
    server?.setServing(false);
    expect((await check()).status).toBe('NOT_SERVING');
    health.close();

    const { loadSync } = require('@grpc/proto-loader') as typeof import('@grpc/proto-loader');
    const proto = require.resolve('@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto');
    const loaded = loadSync(proto)['grpc.reflection.v1.ServerReflection'] as grpc.ServiceDefinition;
    const Reflection = grpc.makeClientConstructor(loaded, 'ServerReflection');
    const client = new Reflection(address, grpc.credentials.createInsecure());
    const call = client['ServerReflectionInfo']!() as grpc.ClientDuplexStream<unknown, { listServicesResponse: { service: { name: string }[] } }>;
    const answer = await new Promise<{ listServicesResponse: { service: { name: string }[] } }>((resolve, reject) => {
      call.on('data', resolve);
      call.on('error', reject);
      call.write({ listServices: '' });
    });
    call.end();
    expect(answer.listServicesResponse.service.map((s) => s.name)).toContain('drover.v1.FailoverService');
    client.close();
  });
});
