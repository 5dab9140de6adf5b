/** The control plane on a real NATS: replicas that are asked for, and being without NATS; the services it asks are stand-ins. */
import { setTimeout as delay } from 'node:timers/promises';
import { publishEvent } from '@drover/bus';
import { until } from '@drover/core';
import { createClient, FailoverService, replicaState } from '@drover/rpc';
import { afterEach, describe, expect, it } from 'vitest';
import { ACME, all, change, makeWorld, nextOf, type World, type WorldOptions } from './world.testing.ts';

let world: World;
const start = async (options: WorldOptions = {}) => {
  world = await makeWorld(options);
};
const move = { requestId: 'm1', tenant: 'acme', to: 'west' };

describe('adding a replica', () => {
  afterEach(() => world.close());
  const request = { requestId: 'r1', tenant: 'acme', to: 'west' };

  it('is written into the placement and followed until it is live', async () => {
    await start();
    await world.place({ replicas: {} });
    await world.answer('migration.status', () => ({ ok: true, copies: 1 }));
    const call = world.tenants.addReplica(request)[Symbol.asyncIterator]();
    expect((await nextOf(call)).event).toMatchObject({
      case: 'progress',
      value: { phase: 'waiting for the migration service' },
    });
    const copying = (await world.catalog.getPlacement(ACME))?.value.replicas['west'];
    expect(copying?.state).toBe('copying');
    publishEvent(world.bus, 'copy.progress', {
      tenant: 'acme',
      to: 'west',
      phase: 'copying',
      table: 'public.a',
      rows: 10,
      total: 40,
    });
    // Other copies are none of its business.
    publishEvent(world.bus, 'copy.progress', { tenant: 'other', to: 'west', phase: 'x', rows: 1 });
    publishEvent(world.bus, 'copy.progress', { tenant: 'acme', to: 'north', phase: 'x', rows: 1 });
    expect((await nextOf(call)).event.value).toMatchObject({
      phase: 'copying',
      table: 'public.a',
      rows: 10n,
      total: 40n,
    });
    publishEvent(world.bus, 'copy.progress', { tenant: 'acme', to: 'west', error: 'disk full' });
    expect((await nextOf(call)).event.value).toMatchObject({
      phase: 'it will be tried again: disk full',
      rows: 10n,
    });
    await change(world, ACME, (p) => ({
      ...p,
      replicas: { west: { state: 'live', since: new Date().toISOString() } },
    }));
    expect((await nextOf(call)).event).toMatchObject({
      case: 'outcome',
      value: { replicas: [{ cluster: 'west', state: replicaState.toProto('live') }] },
    });
    expect((await call.next()).done).toBe(true);
  });

  it('that is live is left alone, unless it is to be copied anew', async () => {
    await start();
    const before = await world.place();
    await world.answer('migration.status', () => ({ ok: true, copies: 1 }));
    expect((await all(world.tenants.addReplica(request))).map((e) => e.event.case)).toEqual(['outcome']);
    expect((await world.catalog.getPlacement(ACME))?.value).toEqual(before);
    const call = world.tenants.addReplica({ ...request, anew: true })[Symbol.asyncIterator]();
    expect((await nextOf(call)).event.case).toBe('progress');
    expect((await world.catalog.getPlacement(ACME))?.value.replicas['west']?.state).toBe('copying');
    await delay(5);
    await change(world, ACME, (p) => ({
      ...p,
      replicas: { west: { state: 'live', since: new Date().toISOString() } },
    }));
    expect((await nextOf(call)).event.case).toBe('outcome');
  });

  it('is refused with the reason', async () => {
    await start();
    await world.place();
    const failing = (more: object) => expect(all(world.tenants.addReplica({ ...request, ...more }))).rejects;
    await failing({ to: 'east' }).toMatchObject({ code: 'rpc.invalid', message: /served by east/ });
    await failing({ to: 'south' }).toMatchObject({ code: 'rpc.invalid' });
    await failing({ tenant: 'nobody' }).toMatchObject({ code: 'tenant.unknown' });
    await failing({ requestId: '' }).toMatchObject({ code: 'rpc.invalid' });
  });

  it('without a migration service is on record, and said so', async () => {
    await start();
    await world.place({ replicas: {} });
    await expect(all(world.tenants.addReplica(request))).rejects.toMatchObject({
      code: 'rpc.unavailable',
      message: /on record/,
    });
    expect((await world.catalog.getPlacement(ACME))?.value.replicas['west']?.state).toBe('copying');
  });
});

describe('without NATS', () => {
  afterEach(() => world.close());

  it('nothing is served, and it is said; when NATS is back all is served again', async () => {
    await start();
    await world.place();
    const ready = async () => (await fetch(`${world.metricsUrl}/readyz`)).status;
    expect(await ready()).toBe(200);
    await world.nats.kill9();
    const wait = (what: string, probe: () => Promise<boolean>) =>
      until(async () => ((await probe()) ? true : undefined), {
        everyMs: 50,
        timeoutMs: 60_000,
        onTimeout: () => new Error(what),
      });
    await wait('not ready', async () => (await ready()) === 503);
    const asked = performance.now();
    await expect(world.tenants.listTenants({})).rejects.toMatchObject({ code: 'bus.unreachable' });
    await expect(all(world.failover.failoverTenant(move))).rejects.toMatchObject({ code: 'bus.unreachable' });
    expect(performance.now() - asked).toBeLessThan(8000); // not after the time of a request: 10 s
    await world.nats.restart();
    await wait('ready again', async () => (await ready()) === 200);
    expect((await world.tenants.getTenant({ tenant: 'acme' })).tenant?.primary).toBe('east');
  });

  it('it stops at once when told to', async () => {
    await start();
    await world.nats.kill9();
    const began = performance.now();
    await world.stop();
    expect(performance.now() - began).toBeLessThan(60_000); // NATS stays away
  });
});

describe('with a token', () => {
  afterEach(() => world.close());

  it('only who shows it is served', async () => {
    await start({ sections: { control: { token: 'hush' } } });
    await world.place();
    expect((await world.tenants.listTenants({})).tenants).toHaveLength(1);
    const stranger = createClient(FailoverService, world.address);
    await expect(stranger.getFailoverStatus({})).rejects.toMatchObject({ code: 'rpc.unauthenticated' });
    stranger.close();
  });
});
