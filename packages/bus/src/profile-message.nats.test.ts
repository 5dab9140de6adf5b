/** Messages aside of the order: found by whoever asks for them, and by nobody else. */
import { type TestNats, testNats } from '@drover/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { at, connectTo, contents, type Lane, out, ownStream, range, take } from './bus.testing.ts';
import type { Bus } from './connect.ts';
import { PROFILE_TOKEN } from './names.ts';
import { lastPlace } from './place.ts';
import { readProfileMessage } from './profile-message.ts';
import { openPublisher } from './publisher.ts';
import { readResumeMarks } from './resume.ts';
import { lastBlockSeq, streamState } from './stream.ts';

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

const profile = (n: number, seqs: number[], content: string | Buffer = `profile ${n}`) => ({
  ...out(PROFILE_TOKEN, n, content),
  onSeq: (seq: number) => void seqs.push(seq),
});

async function publish(lane: Lane, seqs: number[]): Promise<void> {
  const publisher = await openPublisher(bus, lane);
  const groups = [
    publisher.publishGroup([profile(0, seqs), out('a', 1), out('b', 2)], at(0)),
    publisher.publishGroup([out('a', 3), out('a', 4)], at(2)),
    publisher.publishGroup([profile(4, seqs), profile(4, seqs), out('b', 5)], at(4)),
  ];
  await Promise.all(groups);
  await publisher.close();
}

it('is told the sequence at which it comes to stand, and read there', async () => {
  const lane = await ownStream(bus);
  const seqs: number[] = [];
  await publish(lane, seqs);
  expect(seqs.length).toBe(3);
  const found = await Promise.all(seqs.map((seq) => readProfileMessage(bus, lane, seq)));
  expect(found.map(String)).toEqual(['profile 0', 'profile 4', 'profile 4']);
});

it('is no message for readers in order, of the partition or of a tenant', async () => {
  const lane = await ownStream(bus);
  await publish(lane, []);
  expect(await contents(bus, lane)).toEqual(['a:1', 'b:2', 'a:3', 'a:4', 'b:5']);
  expect((await take(bus, lane, 5)).map(({ token }) => token)).toEqual(['a', 'b', 'a', 'a', 'b']);
});

it('is not where a reader stands that has caught up', async () => {
  const lane = await ownStream(bus);
  const publisher = await openPublisher(bus, lane);
  await publisher.publishGroup([out('a', 1)], at(0));
  const last = await lastBlockSeq(bus, lane.cluster, lane.partition);
  await publisher.publishGroup([profile(1, [])], at(1));
  await publisher.close();
  expect((await streamState(bus, lane.cluster, lane.partition))?.lastSeq).toBe(last + 1);
  expect(await lastBlockSeq(bus, lane.cluster, lane.partition)).toBe(last);
  expect((await lastPlace(bus, lane.cluster, lane.partition)).seq).toBe(last);
});

it('leaves the marks to resume from as they are', async () => {
  const marks = async (lane: Lane) => {
    const state = await streamState(bus, lane.cluster, lane.partition);
    return state === undefined ? null : readResumeMarks(bus, lane.cluster, lane.partition, state);
  };
  const [with_, without] = [await ownStream(bus), await ownStream(bus)];
  for (const [lane, aside] of [
    [with_, [profile(2, [])]],
    [without, []],
  ] as const) {
    const publisher = await openPublisher(bus, lane);
    await publisher.publishGroup([out('a', 1), out('b', 2)], at(0));
    await publisher.publishGroup([...aside, out('b', 3), out('c', 4)], at(2));
    await publisher.close();
  }
  const { perTenant, safeLsn } = (await marks(with_)) ?? {};
  expect({ perTenant, safeLsn }).toEqual({
    perTenant: (await marks(without))?.perTenant,
    safeLsn: at(2),
  });
  expect([...(perTenant?.keys() ?? [])]).toEqual(['b', 'c']);
});

it('is told no sequence when it has to be cut in pieces', async () => {
  const lane = await ownStream(bus);
  const publisher = await openPublisher(bus, lane);
  const seqs: number[] = [];
  await publisher.publishGroup([profile(0, seqs, Buffer.alloc(bus.maxPayload + 1)), out('a', 1)], at(0));
  await publisher.close();
  expect(seqs).toEqual([]);
  expect((await take(bus, lane, 1)).map(({ data }) => data.toString())).toEqual(['a:1']);
});

it('is not found where something else stands, nor where nothing does', async () => {
  const lane = await ownStream(bus);
  await publish(lane, []);
  const state = await streamState(bus, lane.cluster, lane.partition);
  const found = await Promise.all(
    range(state?.lastSeq ?? 0, 1).map((seq) => readProfileMessage(bus, lane, seq)),
  );
  expect(found.filter((block) => block !== null).length).toBe(3);
  expect(await readProfileMessage(bus, lane, (state?.lastSeq ?? 0) + 1)).toBeNull();
});
