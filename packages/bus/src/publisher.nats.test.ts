import { randomBytes } from 'node:crypto';
import { sleep, tenantId, tenantToken } from '@drover/core';
import { codeOf, FaultProxy, type TestNats, testNats } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, connectTo, contents, out, ownStream, range, take } from './bus.testing.ts';
import type { Bus } from './connect.ts';
import { IN_FLIGHT_MESSAGES_MAX } from './fence.ts';
import { streamName } from './names.ts';
import { openPublisher } from './publisher.ts';
import { ensureStream, lastBlockSeq } from './stream.ts';

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

describe('a publisher', () => {
  it('stores groups in order, acknowledges them, and its successor finds the exact marks', async () => {
    const lane = await ownStream(bus);
    const first = await openPublisher(bus, lane);
    expect(first.resume).toBeNull();
    await Promise.all([
      first.publishGroup([out('a', 10), out('b', 11)], at(0)),
      first.publishGroup([out('a', 20), out('c', 22)], at(11)),
    ]);
    expect(first.status()).toEqual({
      state: 'ready',
      reason: null,
      queuedMessages: 0,
      queuedBytes: 0,
      inFlight: 0,
    });
    await first.close(); // between groups

    const second = await openPublisher(bus, lane);
    expect(second.resume).toMatchObject({ safeLsn: at(11), systemId: '77', generation: 1 });
    expect([...(second.resume?.perTenant ?? [])]).toEqual([
      ['a', { lastLsn: at(20), part: 0, complete: true }],
      ['c', { lastLsn: at(22), part: 0, complete: true }],
    ]);
    await second.publishGroup([out('b', 30)], at(22));
    expect(await contents(bus, lane)).toEqual(['a:10', 'b:11', 'a:20', 'c:22', 'b:30']);
    await second.close();
  });

  it('keeps a mark that lies above the safe LSN in view of whoever resumes, also from before a restart', async () => {
    const lane = await ownStream(bus);
    const first = await openPublisher(bus, lane);
    await first.publishGroup([out('a', 100)], at(5));
    await first.close();
    const second = await openPublisher(bus, lane);
    await second.publishGroup([out('b', 60)], at(50)); // a's block up to 100 is not covered by 50
    await second.close();
    const third = await openPublisher(bus, lane);
    expect([...(third.resume?.perTenant.keys() ?? [])]).toEqual(['a', 'b']);
    await third.publishGroup([out('b', 120)], at(100));
    await third.close();
    const fourth = await openPublisher(bus, lane);
    expect([...(fourth.resume?.perTenant.keys() ?? [])]).toEqual(['b']);
    await fourth.close();
  });

  it('resolves an empty group only when what went before is stored', async () => {
    const lane = await ownStream(bus);
    const publisher = await openPublisher(bus, lane);
    const order: string[] = [];
    await Promise.all([
      publisher.publishGroup([out('a', 1)], at(0)).then(() => order.push('full')),
      publisher.publishGroup([], at(1)).then(() => order.push('empty')),
    ]);
    expect(order).toEqual(['full', 'empty']);
    await publisher.publishGroup([], at(1));
    await publisher.close();
  });

  it('sends a block of 10 MB in chunks that come out as one', async () => {
    const lane = await ownStream(bus);
    const publisher = await openPublisher(bus, lane);
    const big = randomBytes(10 * 1024 * 1024);
    await publisher.publishGroup([out('a', 1), out('a', 2, big), out('a', 3)], at(0));
    const found = await take(bus, lane, 3);
    expect(found[1]?.data.equals(big)).toBe(true);
    expect(found[2]?.seq).toBe((found[1]?.seq ?? 0) + 1);
    expect((found[1]?.seq ?? 0) - (found[1]?.firstSeq ?? 0)).toBeGreaterThanOrEqual(10);
    await publisher.close();
  });

  it('carries the longest tenant name there is', async () => {
    const lane = await ownStream(bus);
    const publisher = await openPublisher(bus, lane);
    const token = tenantToken(tenantId('é'.repeat(100)));
    const block = randomBytes(bus.maxPayload);
    const message = {
      ...out(token, 1, block),
      id: `7300000000000000000.12.${token}.ffffffffffffffff.12345.${'=C3'.repeat(63)}`,
    };
    await publisher.publishGroup(
      [{ ...message, traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` }],
      at(0),
    );
    const [found] = await take(bus, lane, 1);
    expect(found).toMatchObject({ token, traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` });
    expect(found?.data.equals(block)).toBe(true);
    await publisher.close();
  });

  it('does not count a block of which only some chunks arrived, and nobody gets to see it', async () => {
    const lane = await ownStream(bus);
    const first = await openPublisher(bus, lane);
    await first.publishGroup([out('a', 10), out('b', 11)], at(0));
    const end = await lastBlockSeq(bus, lane.cluster, lane.partition);
    await dieWithinBlock(lane, end);
    expect(await lastBlockSeq(bus, lane.cluster, lane.partition)).toBe(end);

    const second = await openPublisher(bus, lane);
    expect(second.resume?.safeLsn).toBe(at(11));
    expect(second.resume?.perTenant.get('a')).toBeUndefined();
    await second.publishGroup([out('a', 20, 'whole')], at(11));
    expect(await contents(bus, lane)).toEqual(['a:10', 'b:11', 'whole']);
    await second.close();
  });
});

/** Two of three chunks, as a publisher leaves them that is killed there. */
async function dieWithinBlock(lane: { partition: number }, end: number): Promise<void> {
  const { headers } = await import('@nats-io/transport-node');
  for (const i of [0, 1]) {
    const h = headers();
    h.set('Nats-Msg-Id', `77.1.a.14.0.${i}@${end + 1 + i}.dead`);
    h.set('Drover-Group', `${end + 1};0/B`);
    h.set('Drover-Last', '0/14;0;1');
    h.set('Drover-Chunk', `${i}/3`);
    await bus.js.publish(`drover.cdc.east.${lane.partition}.a`, 'part', { headers: h });
  }
}

describe('two publishers', () => {
  it('have one linear history: the stale one is refused and stays refused', async () => {
    const lane = await ownStream(bus);
    const stale = await openPublisher(bus, lane);
    await stale.publishGroup([out('a', 1)], at(0));
    const fresh = await openPublisher(bus, lane);
    await fresh.publishGroup([out('a', 2)], at(1));
    expect(await codeOf(stale.publishGroup([out('a', 2, 'stale')], at(1)))).toBe('bus.fenced');
    expect(await codeOf(stale.publishGroup([out('a', 3, 'stale')], at(2)))).toBe('bus.fenced');
    expect(stale.state()).toBe('fenced');
    await fresh.publishGroup([out('a', 3)], at(2));
    expect(await contents(bus, lane)).toEqual(['a:1', 'a:2', 'a:3']);
    await Promise.all([stale.close(), fresh.close()]);
  });

  it('never take one another’s block for their own, though it has the same id', async () => {
    const lane = await ownStream(bus);
    const one = await openPublisher(bus, lane);
    const other = await openPublisher(bus, lane);
    await one.publishGroup([out('a', 1, 'short')], at(0));
    expect(await codeOf(other.publishGroup([out('a', 1, 'longer, for it was cut elsewhere')], at(0)))).toBe(
      'bus.fenced',
    );
    expect(await contents(bus, lane)).toEqual(['short']);
    await Promise.all([one.close(), other.close()]);
  });

  it.each([1, 2, 5])(
    'refuse all that a stale one has on the wire, however little the new one has written (%i)',
    async (written) => {
      const lane = await ownStream(bus);
      const proxy = await FaultProxy.start({ port: nats.port });
      const slow = await connectTo(`nats://127.0.0.1:${proxy.port}`, 'stale');
      const stale = await openPublisher(slow, lane);
      await stale.publishGroup([out('a', 1)], at(0));
      proxy.blackhole('toServer');
      const late = range(40, 2).map((n) => stale.publishGroup([out('b', n, 'stale')], at(n - 1)));
      const outcomes = Promise.all(late.map(codeOf));
      await sleep(50);
      const fresh = await openPublisher(bus, lane);
      for (const n of range(written, 2)) await fresh.publishGroup([out('a', n)], at(n - 1));
      proxy.pass();
      expect(new Set(await outcomes)).toEqual(new Set(['bus.fenced']));
      await fresh.publishGroup([out('a', 99)], at(98));
      expect(await contents(bus, lane)).toEqual([...range(written + 1, 1).map((n) => `a:${n}`), 'a:99']);
      await Promise.all([stale.close(), fresh.close()]);
      await slow.close();
      await proxy.close();
    },
  );

  it('are fenced also by a stream without atomic batches', async () => {
    const lane = await ownStream(bus);
    const name = streamName(lane.cluster, lane.partition);
    await bus.jsm.streams.update(name, { allow_atomic: false });
    const stale = await openPublisher(bus, lane);
    await stale.publishGroup([out('a', 1)], at(0));
    const fresh = await openPublisher(bus, lane);
    await fresh.publishGroup([out('a', 2), out('a', 3)], at(1));
    expect((await bus.jsm.streams.info(name)).state.last_seq).toBe(2 * IN_FLIGHT_MESSAGES_MAX + 1);
    expect(await codeOf(stale.publishGroup([out('a', 2, 'stale')], at(1)))).toBe('bus.fenced');
    expect(await contents(bus, lane)).toEqual(['a:1', 'a:2', 'a:3']);
    await Promise.all([stale.close(), fresh.close()]);
  });

  it('are told when the stream was made anew under them', async () => {
    const lane = await ownStream(bus);
    const publisher = await openPublisher(bus, lane);
    await publisher.publishGroup([out('a', 1)], at(0));
    await bus.jsm.streams.delete(streamName(lane.cluster, lane.partition));
    await ensureStream(bus, { ...lane, replicas: 1, maxBytes: 1_000_000, maxAgeMs: 60_000 });
    await ensureStream(bus, { ...lane, replicas: 1, maxBytes: 1_000_000, maxAgeMs: 60_000 });
    expect(await codeOf(publisher.publishGroup([out('a', 2)], at(1)))).toBe('bus.lost');
    expect(await codeOf(publisher.publishGroup([out('a', 2)], at(1)))).toBe('bus.lost');
    expect((await bus.jsm.streams.info(streamName(lane.cluster, lane.partition))).state.messages).toBe(0);
    expect((await bus.jsm.streams.info(streamName(lane.cluster, lane.partition))).state.messages).toBe(0);
    await publisher.close();
  });
});
