import { DroverError, sleep, until } from '@drover/core';
import { type TestNats, testNats } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectTo } from './bus.testing.ts';
import type { Bus } from './connect.ts';
import { onEvent, publishEvent } from './events.ts';
import { callRpc, type RpcHandler, serveRpc } from './rpc.ts';

let nats: TestNats;
let server: Bus;
let client: Bus;

beforeAll(async () => {
  nats = await testNats();
  [server, client] = await Promise.all([connectTo(nats.url), connectTo(nats.url)]);
});

afterAll(async () => {
  await Promise.all([server.close(), client.close()]);
  await nats.stop();
});

async function serve(handler: RpcHandler) {
  const method = `test.${crypto.randomUUID()}`;
  const served = serveRpc(server, method, handler);
  await server.nc.flush();
  return { method, served };
}

describe('a request', () => {
  it('is answered', async () => {
    const { method, served } = await serve(async (request) => ({ got: request }));
    expect(await callRpc(client, method, { a: 1 }, { timeoutMs: 30_000 })).toEqual({ got: { a: 1 } });
    expect(await callRpc(client, method, undefined, { timeoutMs: 30_000 })).toEqual({ got: {} });
    await served.close();
  });

  it('gets the error with its code and advice', async () => {
    const { method, served } = await serve(async (request) => {
      if (request === 'bug') throw new TypeError('x is not a function');
      throw new DroverError('tenant.busy', 'acme is being moved', { hint: 'wait' });
    });
    const failure = await callRpc(client, method, {}, { timeoutMs: 30_000 }).catch((e: unknown) => e);
    expect(failure).toMatchObject({
      code: 'tenant.busy',
      message: 'acme is being moved',
      hint: 'wait',
      disposition: 'retry',
    });
    const bug = await callRpc(client, method, 'bug', { timeoutMs: 30_000 }).catch((e: unknown) => e);
    expect(bug).toMatchObject({ code: 'internal.assertion', message: 'x is not a function' });
    await served.close();
  });

  it('hears of progress, and waits for as long as there is some', async () => {
    const { method, served } = await serve(async (_, { progress }) => {
      for (let i = 0; i < 6; i++) {
        progress({ i });
        await sleep(400);
      }
      return 'done';
    });
    const heard: unknown[] = [];
    const answer = await callRpc(
      client,
      method,
      {},
      { timeoutMs: 2000, onProgress: (update) => heard.push(update) },
    );
    expect(answer).toBe('done');
    expect(heard).toEqual([0, 1, 2, 3, 4, 5].map((i) => ({ i })));
    await served.close();
  });

  it('gives up after a silence, and tells the handler', async () => {
    let told = false;
    const { method, served } = await serve(async (_, { signal }) => {
      told = !(await sleep(60_000, signal));
    });
    const failure = await callRpc(client, method, {}, { timeoutMs: 100 }).catch((e: unknown) => e);
    expect(failure).toMatchObject({ code: 'rpc.unavailable', message: expect.stringMatching(/100 ms/) });
    await until(() => told || undefined, {
      everyMs: 5,
      timeoutMs: 30_000,
      onTimeout: () => new Error('the handler was told nothing'),
    });
    await served.close();
  });

  it('is called off by its signal', async () => {
    const { method, served } = await serve((_, { signal }) => sleep(5000, signal).then(() => 'late'));
    const stop = new AbortController();
    const asked = callRpc(client, method, {}, { timeoutMs: 5000, signal: stop.signal });
    setTimeout(() => stop.abort(), 50);
    await expect(asked).rejects.toMatchObject({ code: 'internal.cancelled' });
    await expect(callRpc(client, method, {}, { timeoutMs: 5000, signal: stop.signal })).rejects.toMatchObject(
      {
        code: 'internal.cancelled',
      },
    );
    await served.close();
  });

  it('learns at once that nobody serves it', async () => {
    const started = performance.now();
    const failure = await callRpc(client, 'test.nobody', {}, { timeoutMs: 30_000 }).catch((e: unknown) => e);
    expect(failure).toMatchObject({ code: 'rpc.unavailable', message: 'nobody serves test.nobody' });
    expect(performance.now() - started).toBeLessThan(15_000);
  });

  it('is refused when its answer does not fit, when it is not JSON, and when there are too many', async () => {
    const allRefused = Promise.withResolvers<void>();
    const { method, served } = await serve(async (request) => {
      if (request === 'big') return 'x'.repeat(2 * 1024 * 1024);
      await allRefused.promise;
      return null;
    });
    await expect(callRpc(client, method, 'big', { timeoutMs: 30_000 })).rejects.toMatchObject({
      code: 'rpc.invalid',
    });
    await expect(
      callRpc(client, method, 'x'.repeat(2 * 1024 * 1024), { timeoutMs: 30_000 }),
    ).rejects.toMatchObject({
      code: 'rpc.invalid',
    });
    const answer = await client.nc.request(`drover.rpc.${method}`, 'no json', { timeout: 30_000 });
    expect(answer.json()).toMatchObject({ kind: 'error', code: 'rpc.invalid' });
    let refused = 0;
    const outcomes = await Promise.allSettled(
      Array.from({ length: 80 }, () =>
        callRpc(client, method, {}, { timeoutMs: 30_000 }).catch((error: unknown) => {
          if (++refused === 16) allRefused.resolve();
          throw error;
        }),
      ),
    );
    expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(64);
    await served.close();
  });

  it('in work when the service closes is ended, and closing waits for it', async () => {
    let ended = false;
    const begun = Promise.withResolvers<void>();
    const { method, served } = await serve(async (_, { signal }) => {
      begun.resolve();
      await sleep(60_000, signal);
      await sleep(50);
      ended = true;
      return 'half';
    });
    const asked = callRpc(client, method, {}, { timeoutMs: 30_000 });
    await begun.promise;
    await served.close();
    expect(ended).toBe(true);
    expect(await asked).toBe('half');
    await expect(callRpc(client, method, {}, { timeoutMs: 500 })).rejects.toMatchObject({
      code: 'rpc.unavailable',
    });
  });

  it('in work when the connection closes harms nobody', async () => {
    const own = await connectTo(nats.url);
    const begun = Promise.withResolvers<void>();
    const served = serveRpc(own, 'test.gone', (_, { signal }) => {
      begun.resolve();
      return sleep(60_000, signal);
    });
    await own.nc.flush();
    const asked = callRpc(client, 'test.gone', {}, { timeoutMs: 1000 }).catch((e: unknown) => e);
    await begun.promise;
    await own.close();
    await served.close();
    expect(await asked).toMatchObject({ code: 'rpc.unavailable' });
  });
});

describe('an event', () => {
  it('reaches those who listen for its kind, whatever others make of it', async () => {
    const heard: unknown[] = [];
    const listeners = [
      onEvent(server, 'failover.*', (kind, fields) => heard.push([kind, fields['tenant']])),
      onEvent(server, '>', () => {
        throw new Error('clumsy');
      }),
    ];
    await server.nc.flush();
    const warned = new Promise((resolve) => process.once('warning', resolve));
    publishEvent(client, 'failover.done', { tenant: 'acme' });
    client.nc.publish('drover.events.failover.odd', 'no json');
    publishEvent(client, 'other.done', {});
    publishEvent(client, 'failover.begun', { tenant: 'b' });
    await client.nc.flush();
    await server.nc.flush();
    expect(heard).toEqual([
      ['failover.done', 'acme'],
      ['failover.begun', 'b'],
    ]);
    expect(await warned).toMatchObject({ message: 'clumsy' });
    await Promise.all(listeners.map((listener) => listener.close()));
  });

  it('is no reason to fail on a closed bus', async () => {
    const own = await connectTo(nats.url);
    await own.close();
    publishEvent(own, 'x', {});
  });
});
