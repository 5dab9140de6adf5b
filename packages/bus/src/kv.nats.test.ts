import { until } from '@drover/core';
import { codeOf, type TestNats, testNats } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectTo, range } from './bus.testing.ts';
import type { Bus } from './connect.ts';
import { Kv, type KvChange } from './kv.ts';

interface Thing {
  readonly n: number;
}

let nats: TestNats;
let bus: Bus;
let buckets = 0;

beforeAll(async () => {
  nats = await testNats();
  bus = await connectTo(nats.url);
});

afterAll(async () => {
  await bus.close();
  await nats.stop();
});

const own = (options = {}) => Kv.open<Thing>(bus, `test_${buckets++}`, { replicas: 1, ...options });
/** The bus, on which each reader does something after it was told what is there, and before it reads it. */
function withReaders(first: () => Promise<unknown>): Bus {
  const ask: Bus['ask'] = async (send) => {
    const made = await bus.ask(send);
    const consumer = made as { consume?: (...args: unknown[]) => unknown } | null;
    const consume = consumer?.consume?.bind(consumer);
    if (consumer != null && consume !== undefined) {
      consumer.consume = async (...args) => {
        await first();
        return consume(...args);
      };
    }
    return made;
  };
  return new Proxy(bus, {
    get: (target, name) => {
      const value: unknown = name === 'ask' ? ask : Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** Follows a bucket in the background. */
function follow(kv: Kv<Thing>) {
  const stop = new AbortController();
  const seen: KvChange<Thing>[] = [];
  const ended = (async () => {
    for await (const change of kv.watch(stop.signal)) seen.push(change);
  })();
  const saw = (predicate: (change: KvChange<Thing>) => boolean, timeoutMs = 60_000) =>
    until(() => seen.find(predicate), {
      everyMs: 5,
      timeoutMs,
      onTimeout: () => new Error(JSON.stringify(seen)),
    });
  const end = async () => {
    stop.abort();
    await ended;
  };
  return { seen, saw, end };
}

describe('a bucket', () => {
  it('is opened as often as one likes, by several at once', async () => {
    const open = () => Kv.open<Thing>(bus, 'test_shared', { replicas: 1 });
    const [a, b] = await Promise.all([open(), open()]);
    await a.put('k', { n: 1 });
    expect((await b.get('k'))?.value).toEqual({ n: 1 });
  });

  it('lets one of two writers win', async () => {
    const kv = await own();
    const revision = await kv.create('a.b', { n: 0 });
    const outcomes = await Promise.all(range(8).map((n) => codeOf(kv.update('a.b', { n }, revision))));
    expect(outcomes.filter((code) => code === 'done')).toHaveLength(1);
    expect(outcomes.filter((code) => code === 'placement.conflict')).toHaveLength(7);
    expect((await kv.get('a.b'))?.value.n).toBe(outcomes.indexOf('done'));
  });

  it('creates what is not there, or was deleted, and nothing else', async () => {
    const kv = await own();
    expect(await kv.get('k')).toBeNull();
    const first = await kv.create('k', { n: 1 });
    expect(await codeOf(kv.create('k', { n: 2 }))).toBe('placement.conflict');
    expect(await codeOf(kv.delete('k', first + 100))).toBe('placement.conflict');
    await kv.delete('k', first);
    expect(await kv.get('k')).toBeNull();
    expect(await kv.create('k', { n: 3 })).toBeGreaterThan(first);
    await kv.delete('k');
    const created = await Promise.all(range(5).map((n) => codeOf(kv.create('k', { n }))));
    expect(created.filter((code) => code === 'done')).toHaveLength(1);
  });

  it('lists its keys, without the deleted ones', async () => {
    const kv = await own();
    expect(await kv.keys()).toEqual([]);
    for (const key of ['b', 'a', 'c=C3.x']) await kv.put(key, { n: 1 });
    await kv.delete('b');
    expect(await kv.keys()).toEqual(['a', 'c=C3.x']);
    await kv.delete('a');
    await kv.delete('c=C3.x');
    expect(await kv.keys()).toEqual([]);
  });

  it('lists them though the last goes before it is read', async () => {
    const kv = await own();
    await kv.put('a', { n: 1 });
    const erase = () => bus.jsm.streams.deleteMessage(`KV_test_${buckets - 1}`, 1);
    const late = await Kv.open<Thing>(withReaders(erase), `test_${buckets - 1}`, { replicas: 1 });
    expect(await late.keys()).toEqual([]);
  });

  it('refuses keys that would mean several', async () => {
    const kv = await own();
    for (const key of ['*', 'a.>', 'a b', '', 'a..b'])
      expect(await codeOf(kv.get(key)), key).toBe('internal.assertion');
  });

  it('lets entries vanish after their time', async () => {
    const kv = await own({ ttlMs: 1000 });
    await kv.put('k', { n: 1 });
    await until(async () => ((await kv.get('k')) === null ? true : undefined), {
      everyMs: 50,
      timeoutMs: 30_000,
      onTimeout: () => new Error('still there'),
    });
    expect(await codeOf(kv.create('k', { n: 2 }))).toBe('done');
  });
});

describe('a watch', () => {
  it('gives what is there, the marker, then what changes', async () => {
    const kv = await own();
    await kv.put('a', { n: 1 });
    await kv.put('a', { n: 2 });
    await kv.put('b', { n: 1 });
    await kv.delete('b');
    const watch = follow(kv);
    await watch.saw((change) => change.synced === true);
    expect(watch.seen).toEqual([
      { key: 'a', value: { n: 2 }, revision: 2 },
      { key: 'b', value: null, revision: 4 },
      { key: '', value: null, revision: 0, synced: true },
    ]);
    await kv.put('c', { n: 3 });
    await kv.delete('a');
    await watch.saw((change) => change.key === 'a' && change.value === null);
    expect(watch.seen.slice(3)).toEqual([
      { key: 'c', value: { n: 3 }, revision: 5 },
      { key: 'a', value: null, revision: 6 },
    ]);
    await watch.end();
  });

  it('of an empty bucket is in step at once', async () => {
    const watch = follow(await own());
    await watch.saw((change) => change.synced === true);
    await watch.end();
  });

  it('is in step though the last of what was there goes before it is read', async () => {
    const kv = await own();
    await kv.put('a', { n: 1 });
    const erase = () => bus.jsm.streams.deleteMessage(`KV_test_${buckets - 1}`, 1);
    const late = await Kv.open<Thing>(withReaders(erase), `test_${buckets - 1}`, { replicas: 1 });
    const watch = follow(late);
    await watch.saw((change) => change.synced === true);
    await kv.put('c', { n: 3 });
    await watch.saw((change) => change.key === 'c');
    expect(watch.seen.map((change) => (change.synced === true ? 'synced' : change.key))).toEqual([
      'synced',
      'c',
    ]);
    await watch.end();
  });

  it('ends at once for whoever leaves it', async () => {
    const kv = await own();
    await kv.put('a', { n: 1 });
    for await (const change of kv.watch(new AbortController().signal)) if (change.synced) break;
    // The server counts a moment later than it answers; it forgets one that nobody deletes after 60 s.
    await until(
      async () => {
        const { state } = await bus.jsm.streams.info(`KV_test_${buckets - 1}`);
        return state.consumer_count === 0 || undefined;
      },
      { everyMs: 20, timeoutMs: 30_000, onTimeout: () => new Error('a consumer is left') },
    );
  });

  it('sees every last value through a restart of the server, soon', async () => {
    const server = await testNats();
    const there = await connectTo(server.url);
    const kv = await Kv.open<Thing>(there, 'test', { replicas: 1 });
    await kv.put('a', { n: 1 });
    const watch = follow(kv);
    await watch.saw((change) => change.synced === true);
    await server.kill9();
    await server.restart();
    const other = await connectTo(server.url); // does not wait for the watcher to come back
    const again = await Kv.open<Thing>(other, 'test', { replicas: 1 });
    for (const n of range(5, 2)) await again.put('a', { n });
    await again.put('b', { n: 9 });
    await watch.saw((change) => change.key === 'b', 20_000); // not when a pull has run out: 30 s
    expect(watch.seen.findLast((change) => change.key === 'a')?.value).toEqual({ n: 6 });
    const revisions = watch.seen
      .filter((change) => change.synced === undefined)
      .map((change) => change.revision);
    expect(revisions).toEqual([...new Set(revisions)].sort((x, y) => x - y));
    await watch.end();
    await other.close();
    await there.close();
    await server.stop();
  });

  it('notices that its consumer is gone', async () => {
    const kv = await own();
    const watch = follow(kv);
    await watch.saw((change) => change.synced === true);
    const stream = `KV_test_${buckets - 1}`;
    for await (const info of bus.jsm.consumers.list(stream))
      await bus.jsm.consumers.delete(stream, info.name);
    await kv.put('a', { n: 1 });
    await watch.saw((change) => change.key === 'a');
    await watch.end();
  });

  it('tells what went with a bucket that was made anew', async () => {
    const kv = await own();
    const bucket = `test_${buckets - 1}`;
    await kv.put('a', { n: 1 });
    await kv.put('b', { n: 1 });
    const watch = follow(kv);
    await watch.saw((change) => change.synced === true);
    await bus.jsm.streams.delete(`KV_${bucket}`);
    await Kv.open<Thing>(bus, bucket, { replicas: 1 });
    await kv.put('b', { n: 2 });
    await watch.saw((change) => change.key === 'a' && change.value === null);
    expect(watch.seen.findLast((change) => change.key === 'b')?.value).toEqual({ n: 2 });
    await watch.end();
  });

  it('shows that it is alive while nothing changes', async () => {
    const kv = await own();
    const stop = new AbortController();
    let alive = 0;
    const watching = (async () => {
      for await (const _ of kv.watch(stop.signal, { onAlive: () => alive++ }));
    })();
    await until(() => alive >= 3 || undefined, {
      everyMs: 50,
      timeoutMs: 60_000,
      onTimeout: () => new Error(`alive ${alive} times`),
    });
    stop.abort();
    await watching;
  });
});
