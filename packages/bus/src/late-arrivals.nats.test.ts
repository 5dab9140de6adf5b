import { sleep } from '@drover/core';
import { FaultProxy, type TestNats, testNats } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, connectTo, contents, type Lane, out, ownStream, range } from './bus.testing.ts';
import type { Bus } from './connect.ts';
import { IN_FLIGHT_MESSAGES_MAX } from './fence.ts';
import { streamName } from './names.ts';
import { openPublisher } from './publisher.ts';

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

/** One connection with two ways to the server: the first falls silent, the second is taken when told to. */
async function twoWays() {
  const proxies = [await FaultProxy.start({ port: nats.port }), await FaultProxy.start({ port: nats.port })];
  const there = await connectTo(proxies.map((proxy) => `nats://127.0.0.1:${proxy.port}`).join(','));
  const first = proxies.find((proxy) => proxy.open > 0);
  const second = proxies.find((proxy) => proxy.open === 0);
  if (first === undefined || second === undefined) throw new Error('not one of two ways was taken');
  return {
    there,
    first,
    change: async () => {
      const back = new Promise<void>((resolve) => {
        const off = there.onStatus((status) => {
          if (status === 'disconnected') return;
          off();
          resolve();
        });
      });
      await there.nc.reconnect();
      await back;
    },
    close: async () => {
      await there.close();
      await Promise.all(proxies.map((proxy) => proxy.close()));
    },
  };
}

const lastSeq = async (lane: Lane) =>
  (await bus.jsm.streams.info(streamName(lane.cluster, lane.partition))).state.last_seq;

describe('what a publisher had on the wire of its old connection', () => {
  it('changes nothing when it arrives after the new one has done everything', async () => {
    const lane = await ownStream(bus);
    const ways = await twoWays();
    const publisher = await openPublisher(ways.there, lane);
    await publisher.publishGroup([out('a', 1)], at(0));
    ways.first.blackhole('toServer');
    const groups = range(40, 2).map((n) => publisher.publishGroup([out('a', n)], at(n - 1)));
    await sleep(50);
    expect(await lastSeq(lane)).toBe(IN_FLIGHT_MESSAGES_MAX);
    await ways.change();
    await Promise.all(groups);
    const end = await lastSeq(lane);
    ways.first.pass();
    await sleep(200);
    expect(await lastSeq(lane)).toBe(end);
    await publisher.publishGroup([out('a', 42)], at(41));
    expect(publisher.state()).toBe('ready');
    expect(await contents(bus, lane)).toEqual(range(42, 1).map((n) => `a:${n}`));
    await publisher.close();
    await ways.close();
  });

  it.each(
    range(5).flatMap((ms) => [
      { ms, late: 'blocks', before: 1 },
      { ms, late: 'the fence and blocks', before: 0 },
    ]),
  )('is stored once when it arrives while the new one recovers ($late, $ms ms)', async ({ ms, before }) => {
    const lane = await ownStream(bus);
    const ways = await twoWays();
    const publisher = await openPublisher(ways.there, lane);
    const publish = (n: number) => publisher.publishGroup([out('a', n)], at(n - 1));
    await Promise.all(range(before, 1).map(publish));
    ways.first.blackhole('toServer');
    const groups = range(60, before + 1).map(publish);
    await sleep(20);
    await ways.change();
    if (ms > 0) await sleep(ms);
    ways.first.pass();
    await Promise.all(groups);
    expect(await contents(bus, lane)).toEqual(range(before + 60, 1).map((n) => `a:${n}`));
    expect(await lastSeq(lane)).toBe(before + 60 + IN_FLIGHT_MESSAGES_MAX - 1);
    await publisher.close();
    await ways.close();
  });

  it('of a publisher that was closed cannot get between its successor’s messages', async () => {
    const lane = await ownStream(bus);
    const ways = await twoWays();
    const old = await openPublisher(ways.there, lane);
    await old.publishGroup([out('a', 1)], at(0));
    ways.first.blackhole('toServer');
    const lost = range(20, 2).map((n) =>
      old.publishGroup([out('a', n, 'old')], at(n - 1)).catch(() => 'lost'),
    );
    await sleep(20);
    await old.close();
    expect(new Set(await Promise.all(lost))).toEqual(new Set(['lost']));
    await ways.change();
    const fresh = await openPublisher(ways.there, lane);
    const groups = range(20, 2).map((n) => fresh.publishGroup([out('a', n)], at(n - 1)));
    await groups[0];
    ways.first.pass();
    await Promise.all(groups);
    await sleep(100);
    expect(await contents(bus, lane)).toEqual(range(21, 1).map((n) => `a:${n}`));
    await fresh.close();
    await ways.close();
  });
});
