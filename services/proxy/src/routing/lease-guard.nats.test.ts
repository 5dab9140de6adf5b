import { type Bus, connectBus } from '@drover/bus';
import { DroverError, deferred, until } from '@drover/core';
import { type TestNats, testNats } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LeaseGuard } from './lease-guard.ts';

let nats: TestNats;
let bus: Bus;

beforeAll(async () => {
  nats = await testNats();
  bus = await connectBus({ url: nats.url, name: 'test' });
});

afterAll(async () => {
  await bus.close();
  await nats.stop();
});

const eventually = (what: string, probe: () => boolean) =>
  until(() => (probe() ? true : undefined), {
    everyMs: 5,
    timeoutMs: 60_000,
    onTimeout: () => new Error(`did not happen: ${what}`),
  });

const leases = async () => {
  const found = await bus.jsm.streams.info('KV_drover_leases').catch(() => null);
  return found?.state.messages ?? 0;
};

describe('the permission to write', () => {
  it('is not there before every placement written until then is known', async () => {
    const stop = new AbortController();
    const guard = new LeaseGuard();
    const asked: ReturnType<typeof deferred<void>>[] = [];
    const errors: string[] = [];
    let held = 0;
    const running = guard.run({
      bus,
      id: 'one',
      ttlMs: 20_000,
      value: () => ({}),
      replicas: 1,
      signal: stop.signal,
      caughtUp: () => {
        const next = deferred<void>();
        asked.push(next);
        return next.promise;
      },
      onHeld: () => held++,
      onLost: () => undefined,
      onError: (why) => errors.push(why),
    });
    await eventually('asked', () => asked.length === 1);
    // The lease is there, so that whoever looks for live proxies waits for this one.
    expect(await leases()).toBe(1);
    expect(guard.valid()).toBe(false);
    asked[0]?.reject(new DroverError('bus.unreachable', 'cannot be told'));
    await eventually('asked again', () => asked.length === 2);
    expect(errors).toHaveLength(1);
    expect(guard.valid()).toBe(false);
    expect(held).toBe(0);
    asked[1]?.resolve();
    await eventually('valid', () => guard.valid());
    expect(held).toBe(1);
    stop.abort();
    await running;
    expect(guard.valid()).toBe(false);
  });
});
