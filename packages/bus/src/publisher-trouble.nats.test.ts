import { randomBytes } from 'node:crypto';
import { sleep, until } from '@drover/core';
import { codeOf, FaultProxy, type TestNats, testNats } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, connectTo, contents, out, ownStream, range } from './bus.testing.ts';
import type { Bus } from './connect.ts';
import { IN_FLIGHT_MESSAGES_MAX } from './fence.ts';
import { streamName } from './names.ts';
import { openPublisher, type Publisher } from './publisher.ts';
import { ensureStream } from './stream.ts';

let nats: TestNats;
let bus: Bus;

beforeAll(async () => {
  nats = await testNats();
  bus = await connectTo(nats.url);
});

afterAll(async () => {
  await bus.close();
  await nats.stop();
});

describe('trouble is waited out', () => {
  it('a full stream: nothing is dropped or reordered, and the state says so', async () => {
    const lane = await ownStream(bus, 1024 * 1024);
    const publisher = await openPublisher(bus, lane);
    const block = (n: number) => out('a', n, Buffer.from(`${n}:`.padEnd(100_000, 'x')));
    let stored = 0;
    const all = range(30, 1).map(async (n) => {
      await publisher.publishGroup([block(n)], at(n - 1));
      stored++;
    });
    while (publisher.state() !== 'full') await sleep(5);
    expect(publisher.status().reason).toMatch(/maximum bytes/);
    await sleep(300);
    expect(stored).toBeLessThan(12);
    expect(publisher.status().queuedMessages).toBe(30 - stored);
    await ensureStream(bus, { ...lane, replicas: 1, maxBytes: 8 * 1024 * 1024, maxAgeMs: 3_600_000 });
    await Promise.all(all);
    expect(publisher.state()).toBe('ready');
    const found = await contents(bus, lane);
    expect(found.map((text) => Number(text.split(':')[0]))).toEqual(range(30, 1));
    await publisher.close();
  });

  it('a full stream on closing: what waits is refused, not left hanging', async () => {
    const lane = await ownStream(bus, 200 * 1024);
    const publisher = await openPublisher(bus, lane);
    const late = codeOf(publisher.publishGroup([out('a', 1, randomBytes(300_000))], at(0)));
    while (publisher.state() !== 'full') await sleep(5);
    await publisher.close();
    expect(await late).toBe('internal.cancelled');
    expect(await codeOf(publisher.publishGroup([out('a', 2)], at(1)))).toBe('internal.cancelled');
  });

  it('a bus that is closed under it: what waits is refused', async () => {
    const there = await connectTo(nats.url);
    const lane = await ownStream(bus, 200 * 1024);
    const publisher = await openPublisher(there, lane);
    const late = codeOf(publisher.publishGroup([out('a', 1, randomBytes(300_000))], at(0)));
    while (publisher.state() !== 'full') await sleep(5);
    await there.close();
    expect(await late).toBe('internal.cancelled');
    await publisher.close();
  });

  it('acknowledgements that are lost: what is stored is not stored again', async () => {
    const lane = await ownStream(bus);
    const proxy = await FaultProxy.start({ port: nats.port });
    const slow = await connectTo(`nats://127.0.0.1:${proxy.port}`);
    const publisher = await openPublisher(slow, lane);
    await publisher.publishGroup([out('a', 1)], at(0));
    proxy.blackhole('toClient');
    const groups = range(20, 2).map((n) => publisher.publishGroup([out('a', n)], at(n - 1)));
    const name = streamName(lane.cluster, lane.partition);
    while ((await bus.jsm.streams.info(name)).state.last_seq < IN_FLIGHT_MESSAGES_MAX + 20) await sleep(5);
    proxy.reset();
    proxy.pass();
    const started = performance.now();
    await Promise.all(groups);
    expect(performance.now() - started).toBeLessThan(8000); // not after the time of an acknowledgement: 10 s
    expect(await contents(bus, lane)).toEqual(range(21, 1).map((n) => `a:${n}`));
    await publisher.close();
    await slow.close();
    await proxy.close();
  });

  it('connections cut at any byte: one copy of each, in order', async () => {
    const lane = await ownStream(bus);
    const proxy = await FaultProxy.start({ port: nats.port });
    const shaky = await connectTo(`nats://127.0.0.1:${proxy.port}`);
    const publisher = await openPublisher(shaky, lane);
    const all: Promise<void>[] = [];
    for (const n of range(400, 1)) {
      all.push(publisher.publishGroup([out('a', n)], at(n - 1)));
      if (n % 80 === 0) proxy.resetAfter(1000 + n * 17, n % 160 === 0 ? 'toClient' : 'toServer');
      if (n % 20 === 0) await sleep(15);
    }
    await Promise.all(all);
    expect(await contents(bus, lane)).toEqual(range(400, 1).map((n) => `a:${n}`));
    await publisher.close();
    await shaky.close();
    await proxy.close();
  });

  it('a server that is killed and started again in the middle', async () => {
    const own = await testNats();
    const there = await connectTo(own.url);
    const lane = await ownStream(there);
    const publisher = await openPublisher(there, lane);
    const all: Promise<void>[] = [];
    const send = async (from: number) => {
      for (const n of range(150, from)) {
        all.push(publisher.publishGroup([out('a', n)], at(n - 1)));
        if (n % 10 === 0) await sleep(2);
      }
    };
    await send(1);
    await own.kill9();
    const meanwhile = send(151);
    await until(() => publisher.state() === 'unreachable' || undefined, {
      everyMs: 5,
      timeoutMs: 30_000,
      onTimeout: () => new Error(`it is ${publisher.state()}`),
    });
    await own.restart();
    await meanwhile;
    await Promise.all(all);
    expect(publisher.state()).toBe('ready');
    expect(await contents(there, lane)).toEqual(range(300, 1).map((n) => `a:${n}`));
    await publisher.close();
    await there.close();
    await own.stop();
  });

  it('a fence of which nobody knows whether it arrived', async () => {
    const lane = await ownStream(bus);
    const proxy = await FaultProxy.start({ port: nats.port });
    const slow = await connectTo(`nats://127.0.0.1:${proxy.port}`);
    for (const direction of ['toClient', 'toServer'] as const) {
      const publisher: Publisher = await openPublisher(slow, lane);
      proxy.blackhole(direction);
      const done = publisher.publishGroup([out('a', 1, direction)], at(0));
      await sleep(100);
      proxy.reset();
      proxy.pass();
      await done;
      await publisher.close();
    }
    expect(await contents(bus, lane)).toEqual(['toClient', 'toServer']);
    await slow.close();
    await proxy.close();
  });
});
