import { createRequire } from 'node:module';
import { setTimeout as delay } from 'node:timers/promises';
import { equals, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { DroverError, deferred, sleep } from '@drover/core';
import * as grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import {
  createClient,
  createServer,
  FailoverService,
  type Handlers,
  MoveStep,
  moveStep,
  ReplicationService,
  type ServerOptions,
  serve,
} from './index.ts';

const require = createRequire(import.meta.url);
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** Set by handlers that wait: resolves when they do, and when their signal aborts. */
let begun = deferred<void>();
let released = deferred<string>();
const expectWaiting = () => {
  begun = deferred();
  released = deferred();
};

const failover: Handlers<typeof FailoverService> = {
  failoverTenant: async function* (request, context) {
    yield { event: { case: 'step', value: MoveStep.HOLD } };
    if (request.tenant === 'nobody') {
      throw new DroverError('tenant.unknown', 'there is no tenant nobody', {
        hint: 'see `drover tenant list` – all',
      });
    }
    if (request.tenant === 'endless') {
      begun.resolve();
      await sleep(60_000, context.signal);
      released.resolve('stream');
      return;
    }
    yield { event: { case: 'outcome', value: { tenant: request.tenant, epoch: 2n } } };
  },
  getFailoverStatus: async () => ({ leader: 'l1', clusters: [{ cluster: 'east', score: 100 }] }),
  pauseFailover: async () => {
    throw new TypeError('a bug');
  },
  resumeFailover: async () => ({ paused: false }),
  listFailoverHistory: async (_request, context) => {
    begun.resolve();
    await sleep(60_000, context.signal);
    released.resolve('unary');
    return {};
  },
};

const unused: Handlers<typeof ReplicationService> = {
  getStatus: async () => ({}),
  getLag: async () => ({}),
  watchLag: async function* () {},
  verifyTenant: async function* () {},
  listLedger: async () => ({}),
  resolveLedger: async () => ({}),
};

async function start(options: Partial<ServerOptions> = {}) {
  const server = await createServer({
    host: '127.0.0.1',
    port: 0,
    services: [serve(FailoverService, failover)],
    ...options,
  });
  closing.push(() => server.close());
  return { server, address: `127.0.0.1:${server.port}` };
}

function connect(address: string, token?: string) {
  const client = createClient(FailoverService, address, token === undefined ? {} : { token });
  closing.push(() => client.close());
  return client;
}

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const out: T[] = [];
  for await (const value of stream) out.push(value);
  return out;
}

describe('calls', () => {
  it('answer once, or as a stream', async () => {
    const client = connect((await start()).address);
    expect(await client.getFailoverStatus({})).toMatchObject({
      leader: 'l1',
      clusters: [{ cluster: 'east', score: 100 }],
    });
    const events = await all(client.failoverTenant({ requestId: 'r', tenant: 'acme', to: 'west' }));
    expect(events.map((e) => e.event.case)).toEqual(['step', 'outcome']);
    expect(events[0]?.event.value).toBe(moveStep.toProto('hold'));
    expect(events[1]?.event.value).toMatchObject({ tenant: 'acme', epoch: 2n });
  });

  it('fail with the code, the text and the hint of the error, before and within a stream', async () => {
    const client = connect((await start()).address);
    await expect(all(client.failoverTenant({ tenant: 'nobody' }))).rejects.toMatchObject({
      name: 'DroverError',
      code: 'tenant.unknown',
      message: 'there is no tenant nobody',
      hint: 'see `drover tenant list` – all',
    });
    await expect(client.pauseFailover({})).rejects.toMatchObject({
      code: 'internal.assertion',
      message: /a bug/,
    });
  });

  it('have a status for other programs', async () => {
    const { address } = await start();
    const Raw = grpc.makeGenericClientConstructor({}, 'raw');
    const raw = new Raw(address, grpc.credentials.createInsecure());
    closing.push(() => raw.close());
    const bytes = (b: Buffer) => b;
    const call = raw.makeServerStreamRequest(
      '/drover.v1.FailoverService/FailoverTenant',
      bytes,
      bytes,
      Buffer.from([0x12, 6, ...Buffer.from('nobody')]),
    );
    call.on('data', () => undefined);
    const error = await new Promise<grpc.ServiceError>((resolve) =>
      call.on('error', (e) => resolve(e as grpc.ServiceError)),
    );
    expect(error.code).toBe(grpc.status.NOT_FOUND);
    expect(error.metadata.getMap()).toMatchObject({ 'drover-code': 'tenant.unknown' });
  });

  it.each(['unary', 'stream'])('end at the deadline on both sides: %s', async (kind) => {
    expectWaiting();
    const client = connect((await start()).address);
    const call =
      kind === 'unary'
        ? client.listFailoverHistory({}, { deadlineMs: 3000 })
        : all(client.failoverTenant({ tenant: 'endless' }, { deadlineMs: 3000 }));
    await expect(call).rejects.toMatchObject({ code: 'rpc.unavailable', message: /did not answer in time/ });
    expect(await released.promise).toBe(kind);
  });

  it.each(['unary', 'stream'])('end when the caller goes away: %s', async (kind) => {
    expectWaiting();
    const stop = new AbortController();
    const client = connect((await start()).address);
    const call =
      kind === 'unary'
        ? client.listFailoverHistory({}, { signal: stop.signal })
        : all(client.failoverTenant({ tenant: 'endless' }, { signal: stop.signal }));
    const failed = expect(call).rejects.toMatchObject({ code: 'internal.cancelled' });
    await begun.promise;
    stop.abort();
    await failed;
    expect(await released.promise).toBe(kind);
    await expect(client.getFailoverStatus({}, { signal: stop.signal })).rejects.toMatchObject({
      code: 'internal.cancelled',
    });
  });

  it('end when the reader of a stream has seen enough', async () => {
    expectWaiting();
    const client = connect((await start()).address);
    for await (const _ of client.failoverTenant({ tenant: 'endless' })) break;
    expect(await released.promise).toBe('stream');
  });

  it('say when nobody listens', async () => {
    await expect(connect('127.0.0.1:1').getFailoverStatus({}, { deadlineMs: 20_000 })).rejects.toMatchObject({
      code: 'rpc.unavailable',
    });
  });

  it('slow a stream down to the speed of its reader', async () => {
    let written = 0;
    const flood: Handlers<typeof FailoverService> = {
      ...failover,
      failoverTenant: async function* () {
        for (; written < 2000; written++)
          yield { event: { case: 'outcome', value: { tenant: 'x'.repeat(50_000) } } };
      },
    };
    const client = connect((await start({ services: [serve(FailoverService, flood)] })).address);
    for await (const _ of client.failoverTenant({})) {
      await delay(300);
      break;
    }
    expect(written).toBeLessThan(500);
  });
});

describe('the server', () => {
  it('ends running calls when it closes', async () => {
    expectWaiting();
    const { server, address } = await start();
    const call = all(connect(address).failoverTenant({ tenant: 'endless' }));
    await begun.promise;
    const began = performance.now();
    await Promise.all([server.close(), call.catch(() => undefined)]);
    expect(await released.promise).toBe('stream');
    expect(performance.now() - began).toBeLessThan(30_000); // the call would take a minute
  });

  it('lets in only who knows the token, if there is one', async () => {
    const { address } = await start({ token: 'hush' });
    expect(await connect(address, 'hush').getFailoverStatus({})).toMatchObject({ leader: 'l1' });
    for (const client of [connect(address), connect(address, 'wrong')]) {
      await expect(client.getFailoverStatus({})).rejects.toMatchObject({ code: 'rpc.unauthenticated' });
      await expect(all(client.failoverTenant({ tenant: 'acme' }))).rejects.toMatchObject({
        code: 'rpc.unauthenticated',
      });
    }
  });

  it('may refuse calls, and tells how each went', async () => {
    const calls: unknown[] = [];
    let refuse = false;
    const { address } = await start({
      admit: () => {
        if (refuse) throw new DroverError('bus.unreachable', 'NATS is gone');
      },
      onCall: (path, seconds, error) =>
        calls.push([path, seconds >= 0, error instanceof DroverError ? error.code : error]),
    });
    const client = connect(address);
    await client.resumeFailover({});
    refuse = true;
    await expect(client.resumeFailover({})).rejects.toMatchObject({ code: 'bus.unreachable' });
    const path = '/drover.v1.FailoverService/ResumeFailover';
    expect(calls).toEqual([
      [path, true, undefined],
      [path, true, 'bus.unreachable'],
    ]);
  });

  it('names the option when its port is taken', async () => {
    const { server } = await start();
    await expect(start({ port: server.port })).rejects.toMatchObject({
      code: 'local.port_in_use',
      hint: /\[control\]/,
    });
  });

  it('serves the standard health service', async () => {
    const { server, address } = await start();
    const { service } = require('grpc-health-check') as typeof import('grpc-health-check');
    const Health = grpc.makeClientConstructor(service as grpc.ServiceDefinition, 'Health');
    const health = new Health(address, grpc.credentials.createInsecure());
    closing.push(() => health.close());
    const check = (name: string) =>
      new Promise<string>((resolve, reject) =>
        health['check']!({ service: name }, (error: Error | null, value: { status: string }) =>
          error ? reject(error) : resolve(value.status),
        ),
      );
    expect([await check(''), await check('drover.v1.FailoverService')]).toEqual(['SERVING', 'SERVING']);
    server.setServing(false);
    expect([await check(''), await check('drover.v1.FailoverService')]).toEqual([
      'NOT_SERVING',
      'NOT_SERVING',
    ]);
    await expect(check('drover.v1.Nothing')).rejects.toMatchObject({ code: grpc.status.NOT_FOUND });
  });

  it('serves reflection: services by name, and their files with all they import', async () => {
    const { address } = await start({
      services: [serve(FailoverService, failover), serve(ReplicationService, unused)],
    });
    const { loadSync } = require('@grpc/proto-loader') as typeof import('@grpc/proto-loader');
    const proto = require.resolve('@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto');
    const definition = loadSync(proto, { keepCase: true, arrays: true })[
      'grpc.reflection.v1.ServerReflection'
    ] as grpc.ServiceDefinition;
    const Reflection = grpc.makeClientConstructor(definition, 'ServerReflection');
    const client = new Reflection(address, grpc.credentials.createInsecure());
    closing.push(() => client.close());
    interface Answer {
      list_services_response?: { service: { name: string }[] };
      file_descriptor_response?: { file_descriptor_proto: Buffer[] };
    }
    const ask = (request: object) =>
      new Promise<Answer>((resolve, reject) => {
        const call = client['ServerReflectionInfo']!() as grpc.ClientDuplexStream<object, Answer>;
        call.on('data', resolve).on('error', reject);
        call.write(request);
        call.end();
      });
    const { list_services_response: list } = await ask({ list_services: '' });
    expect(list?.service.map((s) => s.name)).toContain('drover.v1.FailoverService');
    for (const service of [FailoverService, ReplicationService]) {
      const { file_descriptor_response: found } = await ask({ file_containing_symbol: service.typeName });
      const files = (found?.file_descriptor_proto ?? []).map((bytes) =>
        fromBinary(FileDescriptorProtoSchema, bytes),
      );
      const names = files.map((f) => f.name);
      expect(names[0]).toBe(service.file.proto.name);
      // Whatever a file imports is there: a client can link it.
      expect(new Set(names)).toEqual(
        new Set([service.file.proto.name, ...files.flatMap((f) => f.dependency)]),
      );
      expect(names).toContain('google/protobuf/timestamp.proto');
      for (const file of files.filter((f) => f.name === service.file.proto.name)) {
        expect(equals(FileDescriptorProtoSchema, file, service.file.proto)).toBe(true);
      }
    }
  });
});

describe('the contract', () => {
  it('has 15 methods at most, and those that change something carry a request id', async () => {
    const { MigrationService } = await import('./index.ts');
    const methods = [FailoverService, MigrationService, ReplicationService].flatMap((s) => s.methods);
    expect(methods.length).toBeLessThanOrEqual(15);
    for (const method of methods) {
      const reads = /^(Get|List|Watch|Verify)/.test(method.name);
      expect(method.input.field['requestId'] !== undefined, method.name).toBe(!reads);
    }
  });
});
