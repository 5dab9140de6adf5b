import { DroverError, sleep, until } from '@drover/core';
import { type TestNats, testNats } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, connectTo, type Lane, out, ownStream, range } from './bus.testing.ts';
import type { Bus } from './connect.ts';
import { consume } from './consume.ts';
import { streamName } from './names.ts';
import { openPublisher } from './publisher.ts';
import { ensureStream } from './stream.ts';

const MAX_AGE_MS = 3000;
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

/** Its messages leave the stream soon. */
async function shortLived(): Promise<Lane> {
  const lane = await ownStream(bus);
  await ensureStream(bus, { ...lane, replicas: 1, maxBytes: 10_000_000, maxAgeMs: MAX_AGE_MS });
  return lane;
}

describe('a reader from under whom messages expire', () => {
  it.each([
    ['of the whole partition', undefined, 'and others follow'],
    ['of one tenant', 'a', 'and others follow'],
    ['of one tenant', 'a', 'and nothing follows'],
  ])('%s is told, not led past them (%s) %s', async (_, token, what) => {
    const lane = await shortLived();
    const publisher = await openPublisher(bus, lane);
    await publisher.publishGroup(
      range(400, 1).map((n) => out(n % 2 === 0 ? 'a' : 'b', n)),
      at(0),
    );
    const options = { ...lane, startSeq: 1, signal: AbortSignal.timeout(60_000) };
    let read = 0;
    const reading = (async () => {
      for await (const _ of consume(bus, token === undefined ? options : { ...options, token })) {
        await sleep(30); // slow, yet never so slow that the server would miss him
        if (++read === 120 && what === 'and others follow') {
          await publisher.publishGroup([out('a', 401)], at(400));
        }
      }
      return 'ended';
    })().catch((error: unknown) => (error instanceof DroverError ? error.code : String(error)));
    expect(await reading).toBe('bus.truncated');
    expect(read).toBeLessThan(190);
    await publisher.close();
  });

  it('is not told so when none of them was his', async () => {
    let attempts = 1;
    while (!(await readsOn())) expect(++attempts).toBeLessThan(5);
  });
});

/**
 * One of whom the first message and the last are, while what is between them expires. False: his consumer was lost, which takes two seconds of this
 * process standing still; who begins anew cannot know whose messages are missing, and is told.
 */
async function readsOn(): Promise<boolean> {
  const lane = await shortLived();
  const publisher = await openPublisher(bus, lane);
  await publisher.publishGroup([out('a', 1)], at(0));
  const stop = new AbortController();
  const found: string[] = [];
  let told: unknown;
  const reading = (async () => {
    for await (const message of consume(bus, { ...lane, startSeq: 1, token: 'a', signal: stop.signal })) {
      found.push(message.data.toString());
    }
  })().catch((error: unknown) => {
    told = error;
  });
  for (const n of range(12, 2)) {
    await sleep(500);
    await publisher.publishGroup([out('b', n)], at(n - 1));
  }
  const { state } = await bus.jsm.streams.info(streamName(lane.cluster, lane.partition));
  expect(state.first_seq).toBeGreaterThan(65);
  await publisher.publishGroup([out('a', 14)], at(13));
  await until(() => found.length > 1 || told !== undefined || undefined, {
    everyMs: 10,
    timeoutMs: 30_000,
    onTimeout: () => new Error(`only ${found.join()}`),
  });
  stop.abort();
  await reading;
  await publisher.close();
  if (told !== undefined) {
    expect(told).toMatchObject({ code: 'bus.truncated' });
    return false;
  }
  expect(state.consumer_count).toBe(1);
  expect(found).toEqual(['a:1', 'a:14']);
  return true;
}
