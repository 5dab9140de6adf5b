import { cpSync, rmSync } from 'node:fs';
import { sleep, until } from '@drover/core';
import { FaultProxy, type TestNats, testNats } from '@drover/testkit';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { connectTo } from './bus.testing.ts';
import type { Bus } from './connect.ts';
import { Kv } from './kv.ts';
import { holdLease, type Lease } from './lease.ts';
import { type LeaseEntry, watchLeases } from './lease-bucket.ts';

let nats: TestNats;
let bus: Bus;
let keys = 0;
let stop = new AbortController();
const never = () => undefined;

beforeAll(async () => {
  nats = await testNats();
  bus = await connectTo(nats.url);
});

afterEach(() => {
  stop.abort();
  stop = new AbortController();
});

afterAll(async () => {
  await bus.close();
  await nats.stop();
});

const key = () => `test.${keys++}`;
const hold = (
  there: Bus,
  name: string,
  ttlMs: number,
  onLost: () => void = never,
): Promise<Lease | undefined> =>
  holdLease(there, { key: name, ttlMs, value: { who: name }, signal: stop.signal, onLost });

describe('a lease', () => {
  it('is held and renewed for as long as wanted, then the next one gets it at once', async () => {
    const name = key();
    const first = await hold(bus, name, 4000);
    const asked = performance.now();
    const waiting = hold(bus, name, 4000).then((lease) => ({ lease, at: performance.now() }));
    await sleep(4500);
    expect(first?.held).toBe(true);
    expect((first?.deadline ?? 0) - performance.now()).toBeGreaterThan(300);
    const released = performance.now();
    await first?.release();
    expect(first?.held).toBe(false);
    const second = await waiting;
    expect(second.at).toBeGreaterThan(released);
    expect(second.at - released).toBeLessThan(2500); // not after its time
    expect(second.at - asked).toBeGreaterThan(4400);
    expect(second.lease?.held).toBe(true);
    await second.lease?.release();
  });

  it('of a holder that is cut off is let go before another takes it over', async () => {
    const name = key();
    const proxy = await FaultProxy.start({ port: nats.port });
    const cutOff = await connectTo(`nats://127.0.0.1:${proxy.port}`);
    let lostAt = 0;
    const first = await hold(cutOff, name, 4000, () => {
      lostAt = performance.now();
    });
    const waiting = hold(bus, name, 4000).then((lease) => ({
      lease,
      at: performance.now(),
      firstHeld: first?.held,
    }));
    await sleep(1000);
    expect(first?.held).toBe(true);
    const cutAt = performance.now();
    proxy.blackhole();
    const second = await waiting;
    expect(second.lease?.held).toBe(true);
    expect(second.firstHeld).toBe(false);
    expect(lostAt).toBeGreaterThan(0);
    expect(lostAt).toBeLessThan(second.at - 200);
    expect(second.at - cutAt).toBeLessThan(4000 + 5000);
    // What it had on the wire comes too late.
    proxy.pass();
    await sleep(500);
    expect(first?.held).toBe(false);
    expect(first?.deadline).toBe(0);
    expect(second.lease?.held).toBe(true);
    await first?.release(); // does not free what another holds
    await sleep(400);
    expect(second.lease?.held).toBe(true);
    await second.lease?.release();
    await cutOff.close();
    await proxy.close();
  });

  it('of a process that was stopped is over when it wakes, before any timer runs', async () => {
    const lease = await hold(bus, key(), 600);
    const until = performance.now() + 700;
    while (performance.now() < until); // as after SIGSTOP: no timer has run, the clock has
    expect(lease?.held).toBe(false);
  });

  it('survives a restart of the server that is shorter than its time', async () => {
    const own = await testNats();
    const there = await connectTo(own.url);
    let lost = 0;
    const lease = await hold(there, key(), 10_000, () => lost++);
    const held: boolean[] = [];
    for (let i = 0; i < 3; i++) {
      await own.restart();
      const { deadline } = lease!;
      const renewed = () => {
        held.push(lease?.held ?? false);
        return lease!.deadline > deadline || undefined;
      };
      await until(renewed, { everyMs: 50, timeoutMs: 30_000, onTimeout: () => new Error('not renewed') });
    }
    expect(held).not.toContain(false);
    expect(lost).toBe(0);
    await lease?.release();
    await there.close();
    await own.stop();
  });

  it('survives a server that has lost its newest messages, its renewals among them', async () => {
    const own = await testNats();
    const store = own.server.storeDir;
    const there = await connectTo(own.url);
    let lost = 0;
    const name = key();
    const lease = await hold(there, name, 10_000, () => lost++);
    await own.server.stop();
    cpSync(store, `${store}.copy`, { recursive: true });
    await own.restart();
    const entries = await Kv.open<LeaseEntry>(there, 'drover_leases', { replicas: 1 });
    const revision = async () => (await entries.get(name).catch(() => null))?.revision ?? 0;
    const after = async (from: number) => {
      while ((await revision()) <= from) await sleep(20);
    };
    const before = await revision();
    await after(before);
    await after(await revision());
    await own.kill9();
    rmSync(store, { recursive: true });
    cpSync(`${store}.copy`, store, { recursive: true });
    await own.restart();
    await there.connected();
    await after(before); // renewed from where the server stands now
    await after(await revision());
    expect(lease?.held).toBe(true);
    expect(lost).toBe(0);
    await lease?.release();
    await there.close();
    await own.stop();
  });

  it('is told lost once, and ends waiting when told to', async () => {
    const own = await testNats();
    const there = await connectTo(own.url);
    const name = key();
    let lost = 0;
    const lease = await hold(there, name, 800, () => lost++);
    const gaveUp = new AbortController();
    const waiting = holdLease(there, {
      key: name,
      ttlMs: 800,
      value: {},
      signal: gaveUp.signal,
      onLost: never,
    });
    await own.kill9();
    await until(() => lost > 0 || undefined, {
      everyMs: 5,
      timeoutMs: 30_000,
      onTimeout: () => new Error('not told'),
    });
    await sleep(800);
    expect(lost).toBe(1);
    expect(lease?.held).toBe(false);
    const told = performance.now();
    gaveUp.abort();
    expect(await waiting).toBeUndefined();
    await lease?.release();
    expect(performance.now() - told).toBeLessThan(5000); // nobody answers for as long as it lasts
    expect(lost).toBe(1);
    await there.close();
    await own.stop();
  });

  it('is one’s own again when the answer to the first attempt was lost', async () => {
    const name = key();
    const proxy = await FaultProxy.start({ port: nats.port });
    const there = await connectTo(`nats://127.0.0.1:${proxy.port}`);
    await hold(there, key(), 60_000); // the bucket is open, the way is known
    proxy.resetAfter(700, 'toClient'); // somewhere within opening, looking, taking
    const started = performance.now();
    const lease = await hold(there, name, 20_000);
    expect(lease?.held).toBe(true);
    expect(performance.now() - started).toBeLessThan(19_000); // not after its time
    await lease?.release();
    await there.close();
    await proxy.close();
  });

  it('never has two holders, however often it changes hands', async () => {
    const name = key();
    const others = await Promise.all([connectTo(nats.url), connectTo(nats.url), connectTo(nats.url)]);
    const holders = new Set<Lease>();
    let most = 0;
    let turns = 0;
    const run = async (there: Bus) => {
      while (turns < 15) {
        const lease = await hold(there, name, 500);
        if (lease === undefined) return;
        holders.add(lease);
        most = Math.max(most, [...holders].filter(({ held }) => held).length);
        turns++;
        await sleep(30);
        holders.delete(lease);
        await lease.release();
      }
    };
    await Promise.all(others.map(run));
    expect(most).toBe(1);
    await Promise.all(others.map((other) => other.close()));
  });
});

describe('the view of the leases', () => {
  it('names who lives, with what they say, and no one longer than their time', async () => {
    const prefix = `view${keys++}.`;
    const view = watchLeases(bus, { signal: stop.signal });
    await view.synced;
    const a = await hold(bus, `${prefix}a`, 4000);
    const b = await hold(bus, `${prefix}b`, 4000);
    a?.update({ who: 'somebody else' });
    const who = () => view.value(`${prefix}a`)?.['who'];
    await until(() => who() === 'somebody else' || undefined, {
      everyMs: 20,
      timeoutMs: 30_000,
      onTimeout: () => new Error(`it is ${String(who())}`),
    });
    expect([...view.live(prefix)].sort()).toEqual(['a', 'b']);
    await b?.release();
    expect([...(await view.liveNow(prefix))]).toEqual(['a']);
    stop.abort(); // a stops renewing without releasing
    stop = new AbortController();
    const fresh = watchLeases(bus, { signal: stop.signal });
    expect([...(await fresh.liveNow(prefix))]).toEqual(['a']);
    await until(() => fresh.live(prefix).size === 0 || undefined, {
      everyMs: 20,
      timeoutMs: 30_000,
      onTimeout: () => new Error('it lives longer than its time'),
    });
    expect([...(await fresh.liveNow(prefix))]).toEqual([]);
  });

  it('does not take its own blindness for the death of others', async () => {
    const prefix = `view${keys++}.`;
    const proxy = await FaultProxy.start({ port: nats.port });
    const blind = await connectTo(`nats://127.0.0.1:${proxy.port}`);
    const lease = await hold(bus, `${prefix}a`, 4000);
    const view = watchLeases(blind, { signal: stop.signal });
    expect([...(await view.liveNow(prefix))]).toEqual(['a']);
    proxy.blackhole();
    await sleep(5000);
    expect(lease?.held).toBe(true);
    expect([...view.live(prefix)]).toEqual(['a']);
    const asked = view.liveNow(prefix);
    await sleep(200);
    proxy.pass();
    expect([...(await asked)]).toEqual(['a']);
    await lease?.release();
    await blind.close();
    await proxy.close();
  });
});
