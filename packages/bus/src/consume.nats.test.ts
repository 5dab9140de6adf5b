import { sleep, until } from '@drover/core';
import { codeOf, FaultProxy, type TestNats, testNats } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, connectTo, type Lane, out, ownStream, range } from './bus.testing.ts';
import type { Bus } from './connect.ts';
import { type ConsumeOptions, consume } from './consume.ts';
import { streamName } from './names.ts';
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

/** Publishes blocks 1 to `n` of tenant a, in groups of ten. */
async function publish(there: Bus, lane: Lane, n: number, from = 1): Promise<void> {
  const publisher = await openPublisher(there, lane);
  const all: Promise<void>[] = [];
  for (let i = from; i < from + n; i += 10) {
    const count = Math.min(10, from + n - i);
    all.push(
      publisher.publishGroup(
        range(count, i).map((k) => out('a', k)),
        at(i - 1),
      ),
    );
  }
  await Promise.all(all);
  await publisher.close();
}

/** Reads until `count` blocks have come; `onEach` may do harm meanwhile. */
async function read(
  there: Bus,
  options: Omit<ConsumeOptions, 'signal'>,
  count: number,
  onEach: (n: number) => Promise<void> | void = () => undefined,
): Promise<string[]> {
  const found: string[] = [];
  for await (const message of consume(there, { ...options, signal: AbortSignal.timeout(60_000) })) {
    found.push(message.data.toString());
    await onEach(found.length);
    if (found.length === count) break;
  }
  return found;
}

/** Of one that nobody deletes. */
const CONSUMER_FORGOTTEN_MS = 60_000;
const expected = (n: number) => range(n, 1).map((k) => `a:${k}`);

describe('a consumer', () => {
  it('begins where it is told and goes on with what comes', async () => {
    const lane = await ownStream(bus);
    await publish(bus, lane, 20);
    const found: number[] = [];
    const stop = new AbortController();
    const reading = (async () => {
      const { last_seq } = (await bus.jsm.streams.info(streamName(lane.cluster, lane.partition))).state;
      for await (const m of consume(bus, { ...lane, startSeq: last_seq - 4, signal: stop.signal })) {
        found.push(Number(m.data.toString().slice(2)));
        expect(m).toMatchObject({ token: 'a', pending: expect.any(Number) });
        expect(Math.abs(m.timeMs - Date.now())).toBeLessThan(60_000);
        if (found.length === 10) stop.abort();
      }
    })();
    await sleep(100);
    await publish(bus, lane, 5, 21);
    await reading;
    expect(found).toEqual(range(10, 16));
  });

  it('of one tenant gets that tenant only', async () => {
    const lane = await ownStream(bus);
    const publisher = await openPublisher(bus, lane);
    await publisher.publishGroup([out('a', 1), out('b', 2), out('ab', 3), out('a', 4)], at(0));
    expect(await read(bus, { ...lane, startSeq: 1, token: 'a' }, 2)).toEqual(['a:1', 'a:4']);
    await publisher.close();
  });

  it('ends at once when told to, also while nothing comes and when the server is away', async () => {
    const own = await testNats();
    const there = await connectTo(own.url);
    const lane = await ownStream(there);
    for (const harm of [async () => undefined, () => own.kill9()]) {
      const stop = new AbortController();
      const reading = (async () => {
        for await (const _ of consume(there, { ...lane, startSeq: 1, signal: stop.signal }))
          throw new Error('what?');
      })();
      await sleep(150);
      await harm();
      await sleep(50);
      const told = performance.now();
      stop.abort();
      await reading;
      expect(performance.now() - told).toBeLessThan(5000); // nobody answers for as long as it lasts
    }
    await there.close();
    await own.stop();
  });

  it('leaves no consumer behind on the server', async () => {
    const lane = await ownStream(bus);
    await publish(bus, lane, 10);
    await read(bus, { ...lane, startSeq: 1 }, 3);
    const name = streamName(lane.cluster, lane.partition);
    // Deleted, not forgotten by the server when nobody has asked for long.
    await until(async () => (await bus.jsm.streams.info(name)).state.consumer_count === 0 || undefined, {
      everyMs: 20,
      timeoutMs: CONSUMER_FORGOTTEN_MS / 2,
      onTimeout: () => new Error('a consumer is left'),
    });
  });
});

describe('nothing is skipped and nothing comes twice', () => {
  it('when the server forgets the consumer again and again', async () => {
    const lane = await ownStream(bus);
    const name = streamName(lane.cluster, lane.partition);
    await publish(bus, lane, 600);
    const found = await read(bus, { ...lane, startSeq: 1 }, 600, async (n) => {
      if (n % 150 !== 0) return;
      for await (const info of bus.jsm.consumers.list(name)) await bus.jsm.consumers.delete(name, info.name);
    });
    expect(found).toEqual(expected(600));
  });

  it('when messages on their way are lost with the connection', async () => {
    const lane = await ownStream(bus);
    await publish(bus, lane, 2000);
    const proxy = await FaultProxy.start({ port: nats.port });
    const shaky = await connectTo(`nats://127.0.0.1:${proxy.port}`);
    const found = await read(shaky, { ...lane, startSeq: 1 }, 2000, (n) => {
      if (n % 400 === 0) proxy.resetAfter(5000 + n, 'toClient');
    });
    expect(found).toEqual(expected(2000));
    expect(proxy.accepted).toBeGreaterThan(2);
    await shaky.close();
    await proxy.close();
  });

  it.each(['stop', 'kill'] as const)(
    'when the server is made to %s and starts again in the middle',
    async (how) => {
      const own = await testNats();
      const there = await connectTo(own.url);
      const lane = await ownStream(there);
      await publish(there, lane, 300);
      let restarted: Promise<void> | undefined;
      const found = await read(there, { ...lane, startSeq: 1 }, 330, async (n) => {
        if (n !== 100 && n !== 300) return;
        if (how === 'kill') await own.kill9();
        restarted = own.restart().then(() => (n === 300 ? publish(there, lane, 30, 301) : undefined));
        if (n === 100) await restarted;
      });
      await restarted;
      expect(found).toEqual(expected(330));
      await there.close();
      await own.stop();
    },
  );

  it('when the reader is slower than everything else', async () => {
    const lane = await ownStream(bus);
    await publish(bus, lane, 100);
    const found = await read(bus, { ...lane, startSeq: 1 }, 100, (n) =>
      n === 1 ? sleep(3500).then(() => undefined) : undefined,
    );
    expect(found).toEqual(expected(100));
  });
});

describe('what is not there is said', () => {
  /** As Drover's own, but one that lets its head be cut off. */
  async function soft(): Promise<Lane> {
    const lane = await ownStream(bus);
    const name = streamName(lane.cluster, lane.partition);
    const { config } = await bus.jsm.streams.info(name);
    await bus.jsm.streams.delete(name);
    await bus.jsm.streams.add({ ...config, deny_purge: false, deny_delete: false });
    return lane;
  }

  it('a head that is gone', async () => {
    const lane = await soft();
    const name = streamName(lane.cluster, lane.partition);
    await publish(bus, lane, 20);
    await bus.jsm.streams.purge(name, { seq: 70 });
    expect(await codeOf(read(bus, { ...lane, startSeq: 69 }, 1))).toBe('bus.truncated');
    expect(await codeOf(read(bus, { ...lane, startSeq: 69, token: 'a' }, 1))).toBe('bus.truncated');
    expect(await codeOf(read(bus, { ...lane, startSeq: 70 }, 1))).toBe('done');
    await bus.jsm.streams.purge(name);
    expect(await codeOf(read(bus, { ...lane, startSeq: 71 }, 1))).toBe('bus.truncated');
  });

  it('a hole', async () => {
    const lane = await soft();
    await publish(bus, lane, 20);
    await bus.jsm.streams.deleteMessage(streamName(lane.cluster, lane.partition), 75);
    expect(await codeOf(read(bus, { ...lane, startSeq: 1 }, 20))).toBe('bus.truncated');
  });

  it('a head that goes while it is being read', async () => {
    const lane = await soft();
    const name = streamName(lane.cluster, lane.partition);
    await publish(bus, lane, 300);
    const reading = read(bus, { ...lane, startSeq: 1 }, 300, async (n) => {
      if (n === 1) await bus.jsm.streams.purge(name, { seq: 300 });
    });
    expect(await codeOf(reading)).toBe('bus.truncated');
  });

  it('a stream that was made anew', async () => {
    const lane = await ownStream(bus);
    await publish(bus, lane, 20);
    await bus.jsm.streams.delete(streamName(lane.cluster, lane.partition));
    const options = { ...lane, replicas: 1, maxBytes: 1_000_000, maxAgeMs: 60_000 };
    expect(await codeOf(read(bus, { ...lane, startSeq: 1 }, 1))).toBe('bus.recreated');
    const fresh = await ensureStream(bus, options);
    expect(fresh.created).not.toBe(lane.state.created);
    await publish(bus, lane, 5);
    expect(await codeOf(read(bus, { ...lane, startSeq: 1, expectCreated: lane.state.created }, 1))).toBe(
      'bus.recreated',
    );
    expect(await codeOf(read(bus, { ...lane, startSeq: 82 }, 1))).toBe('bus.recreated');
    expect(await read(bus, { ...lane, startSeq: 1, expectCreated: fresh.created }, 1)).toEqual(['a:1']);
  });

  it('a stream that is made anew while it is being read, though it soon holds as many messages', async () => {
    const lane = await ownStream(bus);
    await publish(bus, lane, 20);
    const all = Promise.withResolvers<void>();
    const reading = read(bus, { ...lane, startSeq: 1 }, 40, (n) => {
      if (n === 20) all.resolve();
    });
    const outcome = codeOf(reading);
    await all.promise;
    await bus.jsm.streams.delete(streamName(lane.cluster, lane.partition));
    await ensureStream(bus, { ...lane, replicas: 1, maxBytes: 1_000_000, maxAgeMs: 60_000 });
    await publish(bus, lane, 40);
    expect(await outcome).toBe('bus.recreated');
  });
});
