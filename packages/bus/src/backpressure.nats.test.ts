import { randomBytes } from 'node:crypto';
import { sleep } from '@drover/core';
import { FaultProxy, type TestNats, testNats } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, connectTo, contents, out, ownStream, range, take } from './bus.testing.ts';
import type { Bus } from './connect.ts';
import { consume } from './consume.ts';
import { IN_FLIGHT_MESSAGES_MAX } from './fence.ts';
import { openPublisher } from './publisher.ts';
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

describe('a reader that is slow', () => {
  it('holds a bounded part of the stream, however much there is', async () => {
    const lane = await ownStream(bus);
    const publisher = await openPublisher(bus, lane);
    const block = randomBytes(500_000);
    await Promise.all(range(300, 1).map((n) => publisher.publishGroup([out('a', n, block)], at(n - 1))));
    await publisher.close();
    const there = await connectTo(nats.url);
    const stop = new AbortController();
    let read = 0;
    for await (const _ of consume(there, { ...lane, startSeq: 1, signal: stop.signal })) {
      if (++read > 20) break;
      if (read > 10) await sleep(100); // the server has all the time to send more
      const mostBytes = (read + 2 * 64) * 501_000;
      expect(there.nc.stats().inBytes).toBeLessThan(mostBytes);
    }
    await there.close();
  });
});

describe('a publisher that cannot go on', () => {
  it('puts its first block into a full stream as soon as there is room, once', async () => {
    const lane = await ownStream(bus, 600_000);
    const first = await openPublisher(bus, lane);
    await first.publishGroup([out('a', 1, Buffer.alloc(500_000, 'x'))], at(0));
    await first.close();
    const second = await openPublisher(bus, lane);
    const done = second.publishGroup([out('a', 2, Buffer.alloc(200_000, 'y'))], at(1));
    while (second.state() !== 'full') await sleep(5);
    const before = (await bus.jsm.streams.info(`DROVER_CDC_east_${lane.partition}`)).state;
    expect(before.last_seq).toBe(IN_FLIGHT_MESSAGES_MAX); // the fence is not stored without the block
    await ensureStream(bus, { ...lane, replicas: 1, maxBytes: 5_000_000, maxAgeMs: 3_600_000 });
    await done;
    expect((await contents(bus, lane)).map((text) => text[0])).toEqual(['x', 'y']);
    const after = (await bus.jsm.streams.info(`DROVER_CDC_east_${lane.partition}`)).state;
    expect(after.last_seq).toBe(2 * IN_FLIGHT_MESSAGES_MAX);
    await second.close();
  });

  it('closes at once though nobody answers', async () => {
    const lane = await ownStream(bus);
    const proxy = await FaultProxy.start({ port: nats.port });
    const silent = await connectTo(`nats://127.0.0.1:${proxy.port}`);
    const publisher = await openPublisher(silent, lane);
    await publisher.publishGroup([out('a', 1)], at(0));
    proxy.blackhole();
    const groups = range(5, 2).map((n) =>
      publisher.publishGroup([out('a', n)], at(n - 1)).catch(() => 'lost'),
    );
    proxy.reset(); // the next connection is accepted and hears nothing
    await sleep(100);
    const told = performance.now();
    await publisher.close();
    expect(await Promise.all(groups)).toEqual(range(5).map(() => 'lost'));
    expect(performance.now() - told).toBeLessThan(5000); // not the time of a request: 10 s
    await proxy.close();
    await silent.close();
    expect(await take(bus, lane, 1)).toHaveLength(1);
  });

  it('closes at once while its recovery waits for an answer', async () => {
    const lane = await ownStream(bus, 300_000);
    const proxy = await FaultProxy.start({ port: nats.port });
    const silent = await connectTo(`nats://127.0.0.1:${proxy.port}`);
    const publisher = await openPublisher(silent, lane);
    const late = publisher.publishGroup([out('a', 1, randomBytes(400_000))], at(0)).catch(() => 'lost');
    while (publisher.state() !== 'full') await sleep(5);
    proxy.blackhole();
    await sleep(2500); // the next attempt is under way by now
    const told = performance.now();
    await publisher.close();
    expect(await late).toBe('lost');
    expect(performance.now() - told).toBeLessThan(5000); // not the time of a request: 10 s
    await proxy.close();
    await silent.close();
  });
});
