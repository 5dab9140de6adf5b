import { sleep, until } from '@drover/core';
import { FaultProxy, type TestNats, testNats } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectTo } from './bus.testing.ts';
import type { Bus } from './connect.ts';
import { Kv } from './kv.ts';
import { holdLease, type LeaseOptions } from './lease.ts';
import type { LeaseEntry } from './lease-bucket.ts';

let nats: TestNats;
let bus: Bus;
let entries: Kv<LeaseEntry>;
const stop = new AbortController();

beforeAll(async () => {
  nats = await testNats();
  bus = await connectTo(nats.url);
  entries = await Kv.open<LeaseEntry>(bus, 'drover_leases', { replicas: 1 });
});

afterAll(async () => {
  stop.abort();
  await bus.close();
  await nats.stop();
});

const options = (key: string, ttlMs: number): LeaseOptions => ({
  key,
  ttlMs,
  value: {},
  signal: stop.signal,
  onLost: () => undefined,
});
const revisionOf = async (key: string) => (await entries.get(key))?.revision ?? 0;
const renewed = (key: string, from: number) =>
  until(async () => ((await revisionOf(key)) > from ? true : undefined), {
    everyMs: 5,
    timeoutMs: 30_000,
    onTimeout: () => new Error('not renewed'),
  });

describe('a renewal whose answer is lost', () => {
  it('does not end the lease', async () => {
    const proxy = await FaultProxy.start({ port: nats.port });
    const there = await connectTo(`nats://127.0.0.1:${proxy.port}`);
    let lost = 0;
    const lease = await holdLease(there, { ...options('answers.a', 9000), onLost: () => lost++ });
    for (let i = 0; i < 2; i++) {
      const before = await revisionOf('answers.a');
      proxy.blackhole('toClient');
      await renewed('answers.a', before);
      proxy.reset();
      proxy.pass();
      await renewed('answers.a', await revisionOf('answers.a'));
      expect(lease?.held).toBe(true);
    }
    await renewed('answers.a', await revisionOf('answers.a'));
    expect(lease?.held).toBe(true);
    expect(lost).toBe(0);
    await lease?.release();
    await there.close();
    await proxy.close();
  });

  it('does not keep a release from freeing it at once', async () => {
    const proxy = await FaultProxy.start({ port: nats.port });
    const there = await connectTo(`nats://127.0.0.1:${proxy.port}`);
    const lease = await holdLease(there, options('answers.b', 20_000));
    const before = await revisionOf('answers.b');
    proxy.blackhole('toClient');
    await renewed('answers.b', before);
    proxy.reset();
    proxy.pass();
    await lease?.release();
    expect(await entries.get('answers.b')).toBeNull();
    await there.close();
    await proxy.close();
  });

  it('that comes after the deadline does not bring it back', async () => {
    const proxy = await FaultProxy.start({ port: nats.port });
    const there = await connectTo(`nats://127.0.0.1:${proxy.port}`);
    let lost = 0;
    const lease = await holdLease(there, { ...options('answers.c', 1000), onLost: () => lost++ });
    proxy.delay(900, 'toClient'); // each renewal succeeds, and is told of too late
    await sleep(750);
    const held: (boolean | undefined)[] = [];
    for (let i = 0; i < 60; i++) {
      held.push(lease?.held);
      await sleep(20);
    }
    expect(new Set(held)).toEqual(new Set([false]));
    expect(lost).toBe(1);
    await there.close();
    await proxy.close();
  });
});

describe('a lease that was given up during an outage', () => {
  it('is not renewed when the connection is back, so that the next one has it', async () => {
    const own = await testNats();
    const there = await connectTo(own.url);
    const lease = await holdLease(there, options('gone', 800));
    await own.kill9();
    const gone = Date.now();
    await sleep(2000);
    expect(lease?.held).toBe(false);
    await own.restart();
    await there.connected();
    await sleep(800);
    const last = await there.jsm.streams.getMessage('KV_drover_leases', {
      last_by_subj: '$KV.drover_leases.gone',
    });
    expect(last?.time.getTime()).toBeLessThanOrEqual(gone);
    await there.close();
    await own.stop();
  });
});
