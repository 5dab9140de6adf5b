import { until } from '@drover/core';
import { freePort } from '@drover/local';
import { codeOf, type TestNats, testNats } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, connectTo, contents, EAST, out, ownStream, range } from './bus.testing.ts';
import type { Bus } from './connect.ts';
import { streamName } from './names.ts';
import { openPublisher } from './publisher.ts';
import { ensureStream, streamState } from './stream.ts';

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

describe('a connection', () => {
  it('is refused with advice when nobody answers', async () => {
    const failure = await connectTo(`nats://127.0.0.1:${await freePort()}`).catch((e: unknown) => e);
    expect(failure).toMatchObject({ code: 'bus.unreachable', hint: expect.stringMatching(/drover.toml/) });
  });

  it('comes back by itself and says how it stands', async () => {
    const own = await testNats();
    const there = await connectTo(own.url);
    const heard: string[] = [];
    there.onStatus((status) => heard.push(status));
    await own.kill9();
    await until(() => there.status() === 'disconnected' || undefined, {
      everyMs: 5,
      timeoutMs: 30_000,
      onTimeout: () => new Error('it has noticed nothing'),
    });
    const asked = there.ask(() => there.jsm.getAccountInfo()); // waits for the connection
    await own.restart();
    await there.connected();
    expect((await asked).api).toBeDefined();
    expect(heard).toEqual(['disconnected', 'connected']);
    await there.close();
    await expect(there.connected()).rejects.toMatchObject({ code: 'internal.cancelled' });
    await own.stop();
  });
});

describe('a stream', () => {
  it('is made as the change log needs it, once, by several at once', async () => {
    const options = { cluster: EAST, partition: 900, replicas: 1, maxBytes: 10_000_000, maxAgeMs: 3_600_000 };
    const states = await Promise.all(range(4).map(() => ensureStream(bus, options)));
    expect(new Set(states.map((state) => state.created)).size).toBe(1);
    expect(states[0]).toMatchObject({ firstSeq: 1, lastSeq: 0, messages: 0 });
    const { config } = await bus.jsm.streams.info('DROVER_CDC_east_900');
    expect(config).toMatchObject({
      subjects: ['drover.cdc.east.900.*'],
      storage: 'file',
      retention: 'limits',
      discard: 'new',
      deny_delete: true,
      deny_purge: true,
      duplicate_window: 120e9,
      max_age: 3600e9,
      max_bytes: 10_000_000,
      num_replicas: 1,
    });
    await expect(bus.jsm.streams.purge('DROVER_CDC_east_900')).rejects.toThrow();
    expect(await streamState(bus, EAST, 901)).toBeUndefined();
  });

  it('gets new settings and keeps what it holds, also when the new bound is below that', async () => {
    const lane = await ownStream(bus);
    const publisher = await openPublisher(bus, lane);
    await publisher.publishGroup(
      range(20, 1).map((n) => out('a', n, Buffer.alloc(50_000, `${n};`))),
      at(0),
    );
    const before = await contents(bus, lane);
    const after = await ensureStream(bus, { ...lane, replicas: 1, maxBytes: 300_000, maxAgeMs: 7_200_000 });
    expect(after.created).toBe(lane.state.created);
    expect(after.messages).toBe(83);
    expect(await contents(bus, lane)).toEqual(before);
    const { config } = await bus.jsm.streams.info(streamName(lane.cluster, lane.partition));
    expect(config).toMatchObject({ max_bytes: 300_000, max_age: 7200e9 });
    await publisher.close();
  });

  it('of another kind under its name is refused, and so is what the server cannot promise', async () => {
    const options = { cluster: EAST, partition: 902, replicas: 1, maxBytes: 10_000_000, maxAgeMs: 3_600_000 };
    await bus.jsm.streams.add({
      name: 'DROVER_CDC_east_902',
      subjects: ['drover.cdc.east.902.*'],
      storage: 'memory',
    });
    expect(await codeOf(ensureStream(bus, options))).toBe('config.invalid');
    expect(await codeOf(ensureStream(bus, { ...options, partition: 903, maxBytes: 1e17 }))).toBe('bus.full');
    expect(await codeOf(openPublisher(bus, { ...options, partition: 904 }))).toBe('bus.unreachable');
  });
});
