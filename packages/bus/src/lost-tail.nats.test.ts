/**
 * A server that lost power before it had written what it acknowledged: the stream is the same one, ends earlier, and is written on since. Its sequences
 * mean other messages now, and nobody who stood among them goes on as if nothing had happened (pitfall 58).
 */
import { cpSync, rmSync } from 'node:fs';
import { codeOf, type TestNats, testNats } from '@drover/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { at, connectTo, type Lane, out, ownStream, take } from './bus.testing.ts';
import type { Bus } from './connect.ts';
import { consume } from './consume.ts';
import { streamName } from './names.ts';
import { holdsPlace, lastPlace } from './place.ts';
import { openPublisher, type Publisher } from './publisher.ts';
import { ensureStream, stillHolds, streamState } from './stream.ts';

let nats: TestNats;
let bus: Bus;
let lane: Lane;
let publisher: Publisher;
let created: string;

beforeEach(async () => {
  nats = await testNats();
  bus = await connectTo(nats.url);
  const own = await ownStream(bus);
  lane = own;
  created = own.state.created;
  publisher = await openPublisher(bus, lane);
  await publisher.publishGroup([out('a', 1), out('a', 2)], at(0));
});
afterEach(async () => {
  await publisher.close();
  await bus.close();
  await nats.stop();
});

/** Publishes blocks 3 to 12; then the power goes, and with it all but the first two. */
async function loseTail(): Promise<{ seq: number; timeMs: number }> {
  const store = nats.server.storeDir;
  await nats.server.stop();
  cpSync(store, `${store}.copy`, { recursive: true });
  await nats.restart();
  await bus.connected();
  for (let n = 3; n <= 12; n++) await publisher.publishGroup([out('a', n)], at(n - 1));
  const last = (await take(bus, lane, 12)).at(-1);
  await nats.kill9();
  rmSync(store, { recursive: true });
  cpSync(`${store}.copy`, store, { recursive: true });
  await nats.restart();
  await bus.connected();
  return { seq: last?.seq ?? 0, timeMs: last?.timeMs ?? 0 };
}

async function first(startSeq: number, anchor: { seq: number; timeMs: number }): Promise<string> {
  const signal = AbortSignal.timeout(60_000);
  for await (const message of consume(bus, { ...lane, startSeq, anchor, expectCreated: created, signal }))
    return message.data.toString();
  return 'nothing';
}

describe('a stream that has lost its newest messages', () => {
  it('and was written on is not the one the position was taken from', async () => {
    const anchor = await loseTail();
    const next = await openPublisher(bus, lane);
    for (let n = 20; n <= 40; n++) await next.publishGroup([out('a', n)], at(n - 1));
    const state = await streamState(bus, lane.cluster, lane.partition);
    expect(state?.created).toBe(created);
    expect(state?.lastSeq).toBeGreaterThan(anchor.seq);
    expect(await codeOf(first(anchor.seq + 1, anchor))).toBe('bus.recreated');
    await next.close();
  });

  it('is known by the message that its publisher had stored last, also when others stand there since', async () => {
    const mark = { created, publisher: publisher.name, seq: publisher.stored ?? 0 };
    expect(await stillHolds(bus, lane, mark)).toBe(true);
    await loseTail();
    expect(await stillHolds(bus, lane, mark)).toBe(true);
    const lost = { ...mark, seq: publisher.stored ?? 0 };
    expect(lost.seq).toBe(mark.seq + 10);
    expect(await stillHolds(bus, lane, lost)).toBe(false);
    const next = await openPublisher(bus, lane);
    for (let n = 20; n <= 40; n++) await next.publishGroup([out('a', n)], at(n - 1));
    expect(await stillHolds(bus, lane, lost)).toBe(false);
    expect(await stillHolds(bus, lane, { ...lost, created: 'another' })).toBe(false);
    await next.close();
  });

  it('ends its publisher: bus.lost', async () => {
    await loseTail();
    expect(await codeOf(publisher.publishGroup([out('a', 13)], at(12)))).toBe('bus.lost');
  });
});

it('a stream that has lost nothing is read on behind the message that is known', async () => {
  const [, second] = await take(bus, lane, 2);
  const anchor = { seq: second?.seq ?? 0, timeMs: Math.floor(second?.timeMs ?? 0) };
  await publisher.publishGroup([out('a', 3)], at(2));
  expect(await first(anchor.seq + 1, anchor)).toBe('a:3');
});

describe('a place that was put on record', () => {
  const holds = (place: Parameters<typeof holdsPlace>[3]) =>
    holdsPlace(bus, lane.cluster, lane.partition, place);
  const last = () => lastPlace(bus, lane.cluster, lane.partition);

  it('means what it meant as long as the stream goes on, and not when it was cut off before it', async () => {
    const early = await last();
    expect(early.seq).toBe((await streamState(bus, lane.cluster, lane.partition))?.lastSeq);
    const { seq, timeMs } = await loseTail();
    const late = { seq, mark: `${created};${Math.trunc(timeMs)}` };
    expect([await holds(early), await holds(late)]).toEqual([true, false]);
    const other = await openPublisher(bus, lane);
    for (let n = 3; n <= 80; n++) await other.publishGroup([out('a', n)], at(n - 1));
    expect([await holds(early), await holds(late)]).toEqual([true, false]); // written over
    expect(await holds(await last())).toBe(true);
    await other.close();
  });

  it('is that of one stream, also at its beginning', async () => {
    const place = await last();
    await bus.jsm.streams.delete(streamName(lane.cluster, lane.partition));
    expect(await holds(place)).toBe(false);
    const settings = { replicas: 1, maxBytes: 1 << 20, maxAgeMs: 3_600_000 };
    await ensureStream(bus, { ...lane, ...settings });
    expect(await holds(place)).toBe(false);
    const empty = await last();
    expect([empty.seq, await holds(empty)]).toEqual([0, true]);
  });
});
