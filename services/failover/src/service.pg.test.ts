/** The service itself: what it refuses and tells, what people may ask of it, how instances take turns (I4, I8, I10). */
import { callRpc, holdLease, onEvent } from '@drover/bus';
import { beginSwitchover } from '@drover/catalog';
import type { TenantId } from '@drover/core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { HistoryEvent } from './history.ts';
import type { Waiting } from './told.ts';
import { EAST, makeWorld, WEST, type World } from './world.testing.ts';

interface Status {
  readonly leader: string;
  readonly paused: boolean;
  readonly clusters: { cluster: string; state: string; failing: string[]; lacking: string[] }[];
  readonly moving: { tenant: string; step: string }[];
  readonly waiting: Waiting[];
}

const FAILED = { connect: 'fail', write: 'fail' };
const failover = { grace: '600ms', drain_timeout: '3s', cooldown: '1s' };

let world: World;
let tenant: TenantId;
let stop: AbortController;
let background: Promise<unknown>[];

beforeAll(async () => {
  world = await makeWorld({ failover, proxy: { lease: '1s' } });
});
afterAll(() => world.close());
beforeEach(async () => {
  stop = new AbortController();
  background = [];
  tenant = await world.tenant();
});
afterEach(async () => {
  stop.abort();
  await Promise.all(background);
  world.lines.east.pass();
  world.lines.west.pass();
  for (const { tenant: one } of await world.catalog.listPlacements())
    await world.catalog.placements.delete(one);
});

const status = () => callRpc(world.bus, 'failover.status', {}, { timeoutMs: 20_000 }) as Promise<Status>;
const ledBy = (id: string) =>
  world.waitFor(`${id} leads`, async () => (await status().catch(() => undefined))?.leader === id);
const seenAs = (cluster: string, state: string) =>
  world.waitFor(`${cluster} is ${state}`, async () => {
    const found = (await status()).clusters.find((c) => c.cluster === cluster);
    return found?.state === state && found;
  });
const history = async (of?: string) =>
  (
    (await callRpc(world.bus, 'failover.history', of === undefined ? {} : { tenant: of }, {
      timeoutMs: 20_000,
    })) as { events: HistoryEvent[] }
  ).events;
const onRecord = (kind: string, of?: string) =>
  world.waitFor(`${kind} is on record`, async () => (await history(of)).some((e) => e.kind === kind));
const waits = (code: string, why = '') =>
  world.waitFor(`told ${code} ${why}`, async () =>
    (await status()).waiting.find((w) => w.tenant === tenant && w.code === code && w.why.includes(why)),
  );
const replicate = () => background.push(world.replicate(stop.signal));
/** East is cut off; besides the controller, an apply worker cannot work on it. */
const cutEast = (others = true): void => {
  world.lines.east.blackhole();
  if (others) background.push(world.suffer('apply', 'east', FAILED, stop.signal));
};
const servedBy = (cluster: string) =>
  world.waitFor(`${tenant} is served by ${cluster}`, async () => {
    const p = await world.placement(tenant);
    return p.state === 'active' && p.primary === cluster && p;
  });

describe('a cluster that dies', () => {
  it('loses its tenants to their replicas, though it is silent and not gone; it comes back as a replica', async () => {
    replicate();
    const { stop: end } = await world.start({ id: 'c1' });
    await ledBy('c1');
    cutEast();
    expect(await servedBy('west')).toMatchObject({ epoch: 2, replicas: { east: { state: 'returning' } } });
    expect(await world.canWrite('west', tenant, 2)).toBe(true);
    stop.abort();
    stop = new AbortController();
    replicate();
    world.lines.east.pass();
    background.push(confirmAll(stop.signal));
    await world.waitFor(
      'east follows',
      async () => (await world.placement(tenant)).replicas['east']?.state === 'live',
    );
    expect(await world.writable(tenant)).toEqual(['west']);
    await onRecord('failover.rejoined', tenant);
    const kinds = (await history(tenant)).map((e) => e.kind);
    expect(kinds).toEqual(['failover.begun', 'failover.moved', 'failover.rejoined']);
    await end();
  });

  it.each([
    ['one observer', false, /1 of 2 observers/],
    ['too few signals', false, /2 of 3 signals/],
  ])('is only suspect with %s, and it is told what is lacking', async (_, others, why) => {
    replicate();
    const { stop: end } = await world.start({ id: 'c1' });
    await ledBy('c1');
    cutEast(others);
    const verdict = await seenAs('east', 'suspect');
    await world.waitFor('it has lasted', async () => (await seenAs('east', 'suspect')).failing.length === 2);
    expect((await seenAs('east', 'suspect')).lacking.join('; ')).toMatch(why);
    expect(verdict.state).toBe('suspect');
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(await world.placement(tenant)).toMatchObject({ state: 'active', primary: 'east', epoch: 1 });
    await end();
  });

  it('keeps its tenants while failover is paused, across leaders; resuming lets them go', async () => {
    replicate();
    const first = await world.start({ id: 'c1' });
    await ledBy('c1');
    expect(await callRpc(world.bus, 'failover.pause', { by: 'ann' }, { timeoutMs: 20_000 })).toMatchObject({
      paused: true,
      by: 'ann',
    });
    await first.stop();
    const second = await world.start({ id: 'c2' });
    await ledBy('c2');
    expect((await status()).paused).toBe(true);
    cutEast();
    expect(await waits('auto_off')).toMatchObject({
      kind: 'refused',
      why: expect.stringContaining('paused by ann') as string,
    });
    await callRpc(world.bus, 'failover.resume', { by: 'bob' }, { timeoutMs: 20_000 });
    await servedBy('west');
    await onRecord('failover.moved', tenant);
    expect((await history()).map((e) => e.kind)).toEqual(
      expect.arrayContaining(['failover.paused', 'failover.refused', 'failover.resumed', 'failover.moved']),
    );
    await second.stop();
  });

  it('keeps a tenant without a replica, and says so', async () => {
    await world.catalog.changePlacement(tenant, (p) => ({ ...p, replicas: {} }));
    const { stop: end } = await world.start({ id: 'c1' });
    await ledBy('c1');
    cutEast();
    expect((await waits('no_replica')).why).toContain('it has no replica');
    await end();
  });

  it('keeps a tenant whose replica is too far behind until it has caught up', async () => {
    await world.publish(EAST, tenant, 100);
    const { stop: end } = await world.start({ id: 'c1' });
    await ledBy('c1');
    cutEast();
    expect((await waits('behind')).why).toMatch(/west is \d+ messages behind/);
    expect(await world.placement(tenant)).toMatchObject({ state: 'active', primary: 'east' });
    await world.passed();
    await servedBy('west');
    await world.waitFor('nobody waits', async () => (await status()).waiting.length === 0);
    await end();
  });

  it('keeps its tenants while a proxy that does not answer holds a lease, however new (I4)', async () => {
    replicate();
    const { stop: end } = await world.start({
      id: 'c1',
      failpoint: async (name) => {
        expect(name).not.toBe('promote.fenced');
      },
    });
    await ledBy('c1');
    const holding = new AbortController();
    const lease = await holdLease(world.bus, {
      key: 'proxy.silent-1',
      ttlMs: 6000,
      value: {},
      signal: holding.signal,
      onLost: () => undefined,
    });
    cutEast();
    try {
      await waits('promote', 'silent-1'); // at first it may be that nobody knows who holds leases
      expect((await world.placement(tenant)).move).toMatchObject({ kind: 'failover', step: 'fence' });
    } catch (error) {
      holding.abort(); // or it holds up the tests behind this one
      throw error;
    } finally {
      await end();
    }
    const second = await world.start({ id: 'c2' });
    await lease?.release();
    await servedBy('west');
    await second.stop();
  });

  it('keeps a tenant whose replica is parked', async () => {
    await world.root.west.query(
      `UPDATE drover.tenant SET feed = 'parked', reason = 'poison' WHERE tenant = $1`,
      [tenant],
    );
    const { stop: end } = await world.start({ id: 'c1' });
    await ledBy('c1');
    cutEast();
    expect((await waits('unfit')).why).toContain('west is parked: poison');
    await onRecord('failover.refused', tenant);
    expect((await history(tenant)).map((e) => e.kind)).toEqual(['failover.refused']);
    await end();
  });
});

describe('a switch-over asked for', () => {
  it('is carried on by the next instance when the first one ends at any step', async () => {
    replicate();
    for (const step of ['held', 'closed', 'drained', 'opened']) {
      const to = (await world.placement(tenant)).primary === EAST ? WEST : EAST;
      let there: () => void = () => undefined;
      const reached = new Promise<void>((resolve) => {
        there = resolve;
      });
      const first = await world.start({
        id: 'c1',
        failpoint: async (name) => {
          if (name !== `switchover.${step}`) return;
          there();
          await new Promise(() => undefined); // never goes on, as a process that was killed
        },
      });
      await ledBy('c1');
      await world.catalog.changePlacement(tenant, (p) =>
        beginSwitchover(p, { id: crypto.randomUUID(), to, reason: step }),
      );
      await reached;
      const ended = first.stop();
      const second = await world.start({ id: 'c2' });
      await servedBy(to);
      await ended;
      expect(await world.writable(tenant)).toEqual([to]);
      await second.stop();
    }
  });

  it('does not keep the leader from other tenants while its clusters are silent', async () => {
    replicate();
    const { stop: end } = await world.start({ id: 'c1' });
    await ledBy('c1');
    const seen: string[] = [];
    const listening = onEvent(world.bus, 'failover.*', (kind) => seen.push(kind));
    world.lines.west.blackhole();
    await world.catalog.changePlacement(tenant, (p) =>
      beginSwitchover(p, { id: 'm', to: WEST, reason: 'test' }),
    );
    expect(await servedBy('east')).toMatchObject({ lastMove: { outcome: 'aborted' } });
    expect(await world.writable(tenant)).toEqual(['east']);
    await world.waitFor('it is told', async () => seen.includes('failover.moved'));
    await listening.close();
    await end();
  });

  it('becomes a failover when its source dies on the way', async () => {
    replicate();
    const { stop: end } = await world.start({
      id: 'c1',
      failpoint: async (name) => {
        if (name === 'switchover.closed') cutEast();
      },
    });
    await ledBy('c1');
    await world.root.west.query('UPDATE drover.tenant SET commit_lsn = NULL WHERE tenant = $1', [tenant]);
    stop.abort();
    await Promise.all(background);
    background = [];
    stop = new AbortController();
    await world.catalog.changePlacement(tenant, (p) =>
      beginSwitchover(p, { id: 'm', to: WEST, reason: 'test' }),
    );
    await world.waitFor(
      'it is a failover',
      async () =>
        (await world.placement(tenant)).move?.kind === 'failover' ||
        (await world.placement(tenant)).epoch === 2,
    );
    await world.passed();
    expect(await servedBy('west')).toMatchObject({ epoch: 2, lastMove: { id: 'm', kind: 'failover' } });
    await end();
  });
});

it('has history that survives, is narrowed by tenant and bounded by limit', async () => {
  const { stop: end } = await world.start({ id: 'c1' });
  await ledBy('c1');
  for (let i = 0; i < 30; i++) {
    world.bus.nc.publish(
      'drover.events.failover.moved',
      JSON.stringify({ tenant: i % 2 === 0 ? 'even' : 'odd', n: i }),
    );
    world.bus.nc.publish('drover.events.copy.progress', JSON.stringify({ tenant: 'even', n: i }));
  }
  world.bus.nc.publish('drover.events.failover.moved', 'no JSON');
  await world.waitFor('all are kept', async () => (await history('odd')).length === 15);
  const newest = (await callRpc(
    world.bus,
    'failover.history',
    { tenant: 'even', limit: 3 },
    { timeoutMs: 20_000 },
  )) as { events: HistoryEvent[] };
  expect(newest.events.map((e) => e.fields['n'])).toEqual([24, 26, 28]);
  expect(
    (await callRpc(world.bus, 'failover.history', { limit: 'x' }, { timeoutMs: 20_000 })) as object,
  ).toHaveProperty('events');
  await end();
});

/** In place of the capture service of a cluster that came back. */
async function confirmAll(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await world.root.east.query(
      `SELECT pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) FROM pg_replication_slots WHERE database = current_database()`,
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
