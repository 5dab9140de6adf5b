import { type TestNats, testNats } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectTo } from './bus.testing.ts';
import type { Bus } from './connect.ts';
import { serveRpc } from './rpc.ts';
import { ANSWER_ITEMS_MAX, callPaged, paged } from './rpc-pages.ts';

/** A small limit: what would not fit into one message many times over. */
const MAX_PAYLOAD = 256 * 1024;
let nats: TestNats;
let bus: Bus;

beforeAll(async () => {
  nats = await testNats({ maxPayload: MAX_PAYLOAD });
  bus = await connectTo(nats.url);
});
afterAll(async () => {
  await bus.close();
  await nats.stop();
});

const options = { timeoutMs: 30_000 };
const tenants = (n: number) =>
  Array.from({ length: n }, (_, i) => ({ tenant: `tenant-${i}`, reason: `ü${'x'.repeat(i % 300)}` }));

describe('an answer in pages', () => {
  it('brings 10,000 items in order, each message within the limit', async () => {
    const items = tenants(10_000);
    expect(Buffer.byteLength(JSON.stringify(items))).toBeGreaterThan(4 * MAX_PAYLOAD);
    let messages = 0;
    const tap = bus.nc.subscribe('_INBOX.>', {
      callback: (_, message) => {
        if (message.data.length > 0) messages++;
      },
    });
    const served = serveRpc(
      bus,
      'test.all',
      paged(() => items),
    );
    await bus.nc.flush();
    expect(await callPaged(bus, 'test.all', {}, options)).toEqual(items);
    expect(messages).toBeGreaterThan(8);
    tap.unsubscribe();
    await served.close();
  });

  it('may be empty, and takes the request', async () => {
    const served = serveRpc(
      bus,
      'test.some',
      paged((request) => tenants((request as { n: number }).n)),
    );
    await bus.nc.flush();
    expect(await callPaged(bus, 'test.some', { n: 0 }, options)).toEqual([]);
    expect(await callPaged(bus, 'test.some', { n: 2 }, options)).toHaveLength(2);
    await served.close();
  });

  it('is an error when a page is missing, is too much, or comes from one that knows no pages', async () => {
    const lost = serveRpc(bus, 'test.lost', async (_, { progress }) => {
      progress({ page: [1, 2] });
      progress('something else');
      return { items: 3 };
    });
    const old = serveRpc(bus, 'test.old', async () => [1, 2, 3]);
    const flood = serveRpc(
      bus,
      'test.flood',
      paged(() => Array.from({ length: ANSWER_ITEMS_MAX + 1 }, () => 0)),
    );
    const lies = serveRpc(bus, 'test.lies', async (_, { progress }) => {
      const page = Array.from({ length: 20_001 }, () => 0);
      for (let i = 0; i < 10; i++) progress({ page });
      return { items: 1 };
    });
    const broken = serveRpc(
      bus,
      'test.broken',
      paged(() => [{ tenant: 'x'.repeat(2 * MAX_PAYLOAD) }]),
    );
    await bus.nc.flush();
    const failure = (method: string) => callPaged(bus, method, {}, options);
    await expect(failure('test.lost')).rejects.toMatchObject({
      code: 'rpc.unavailable',
      message: /2 of 3 items/,
    });
    await expect(failure('test.old')).rejects.toMatchObject({ code: 'rpc.invalid', message: /in pages/ });
    await expect(failure('test.flood')).rejects.toMatchObject({ code: 'rpc.invalid', message: /more than/ });
    await expect(failure('test.lies')).rejects.toMatchObject({ code: 'rpc.invalid', message: /more than/ });
    await expect(failure('test.broken')).rejects.toMatchObject({ code: 'rpc.invalid', message: /too large/ });
    for (const served of [lost, old, flood, lies, broken]) await served.close();
  });
});
