import { type Bus, connectBus } from '@drover/bus';
import { clusterId, epoch, sleep, type TenantId, tenantId, until } from '@drover/core';
import { codeOf, type TestNats, testNats } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Catalog, openCatalog } from './catalog.ts';
import type { Placement } from './placement.ts';
import { advanceMove, beginSwitchover, finishMove } from './placement-steps.ts';
import type { Tenant } from './tenant.ts';

const [east, west] = [clusterId('east'), clusterId('west')];
let nats: TestNats;
let bus: Bus;
let catalog: Catalog;
let names = 0;

beforeAll(async () => {
  nats = await testNats();
  bus = await connectBus({ url: nats.url, name: 'test' });
  catalog = await openCatalog(bus, { replicas: 1 });
});

afterAll(async () => {
  await catalog.close();
  await bus.close();
  await nats.stop();
});

const fresh = () => tenantId(`tenant ${names++}`);
const entry = (tenant: TenantId, more: Partial<Tenant> = {}): Tenant => ({
  tenant,
  isolation: 'column',
  tier: 'standard',
  users: {},
  state: 'active',
  createdAt: '2026-01-01T00:00:00.000Z',
  ...more,
});
const placed = (tenant: TenantId): Placement => ({
  tenant,
  epoch: epoch(1),
  epochSeq: 0,
  primary: east,
  database: 'app',
  tier: 'standard',
  replicas: { west: { state: 'live', since: '2026-01-01T00:00:00.000Z' } },
  state: 'active',
  updatedAt: '2026-01-01T00:00:00.000Z',
});
describe('a tenant', () => {
  it('is registered once, however often the request is repeated', async () => {
    const tenant = fresh();
    const request = entry(tenant, { requestId: 'r1' });
    await catalog.createTenant(request, placed(tenant));
    await catalog.createTenant({ ...request, tier: 'changed' }, placed(tenant));
    expect((await catalog.getTenant(tenant))?.tier).toBe('standard');
    for (const other of [entry(tenant), entry(tenant, { requestId: 'r2' })]) {
      expect(await codeOf(catalog.createTenant(other, placed(tenant)))).toBe('tenant.exists');
    }
    expect(await catalog.listTenants()).toContainEqual(request);
    expect(await catalog.listPlacements()).toContainEqual({ ...placed(tenant), registeredBy: 'r1' });
  });

  it('of a registration that died half way is taken over', async () => {
    const tenant = fresh();
    await catalog.createTenant(entry(tenant), placed(tenant));
    const key = (await catalog.placements.keys()).at(-1) ?? '';
    await catalog.placements.delete(key);
    await catalog.createTenant(entry(tenant, { tier: 'gold' }), placed(tenant));
    expect((await catalog.getTenant(tenant))?.tier).toBe('gold');
    expect((await catalog.getPlacement(tenant))?.value).toEqual(placed(tenant));
  });

  it('that nobody knows is said to be unknown', async () => {
    expect(await catalog.getTenant(fresh())).toBeNull();
    expect(await catalog.getPlacement(fresh())).toBeNull();
    expect(await codeOf(catalog.changePlacement(fresh(), (p) => p))).toBe('tenant.unknown');
  });
});

describe('a placement', () => {
  it('changed by many at once has every change', async () => {
    const tenant = fresh();
    await catalog.createTenant(entry(tenant), placed(tenant));
    const other = await openCatalog(bus, { replicas: 1 });
    const grow = (p: Placement): Placement => ({ ...p, epoch: epoch(p.epoch + 1) });
    await Promise.all(
      Array.from({ length: 20 }, (_, i) => (i % 2 ? catalog : other).changePlacement(tenant, grow)),
    );
    expect((await catalog.getPlacement(tenant))?.value.epoch).toBe(21);
  });

  it('is moved by one of two who want to', async () => {
    const tenant = fresh();
    await catalog.createTenant(entry(tenant), placed(tenant));
    const outcomes = await Promise.all(
      ['m1', 'm2'].map((id) =>
        codeOf(catalog.changePlacement(tenant, (p) => beginSwitchover(p, { id, to: west, reason: 'test' }))),
      ),
    );
    expect(outcomes.sort()).toEqual(['done', 'tenant.busy']);
  });

  it('is left alone when there is nothing to change, and when the change is refused', async () => {
    const tenant = fresh();
    await catalog.createTenant(entry(tenant), placed(tenant));
    const before = await catalog.getPlacement(tenant);
    await catalog.changePlacement(tenant, () => null);
    await expect(
      catalog.changePlacement(tenant, () => {
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    expect(await catalog.getPlacement(tenant)).toEqual(before);
  });
});

describe('the view of the placements', () => {
  it('shows what is there, then each step of a move, with the revision', async () => {
    const stop = new AbortController();
    const tenant = fresh();
    await catalog.createTenant(entry(tenant), placed(tenant));
    const view = catalog.watchPlacements(stop.signal);
    await view.synced;
    expect(view.get(tenant)).toEqual(placed(tenant));
    expect([...view.all()].map((p) => p.tenant)).toContain(tenant);
    const steps: string[] = [];
    const off = view.onChange((changed, p) => {
      if (changed === tenant) steps.push(`${p?.state} ${p?.move?.step ?? '-'} ${p?.epoch}`);
    });
    view.onChange(() => {
      throw new Error('clumsy');
    });
    const warned = new Promise((resolve) => process.once('warning', resolve));
    const change = (fn: (p: Placement) => Placement) => catalog.changePlacement(tenant, fn);
    await change((p) => beginSwitchover(p, { id: 'm', to: west, reason: 'test' }));
    await change((p) => advanceMove(p, 'close'));
    await change((p) => advanceMove(p, 'drain', { barrierLsn: '0/1' }));
    await change((p) => advanceMove(p, 'open', { openSeq: 5 }));
    await change((p) => finishMove(p, { holdMs: 1 }));
    const done = await view.waitFor(tenant, (p) => p.primary === west, { timeoutMs: 60_000 });
    expect(done?.epoch).toBe(2);
    expect(steps).toEqual([
      'moving hold 1',
      'moving close 1',
      'moving drain 1',
      'moving open 1',
      'active - 2',
    ]);
    expect(view.revision).toBe((await catalog.getPlacement(tenant))?.revision);
    expect(await warned).toMatchObject({ message: 'clumsy' });
    off();
    expect(await view.waitFor(tenant, () => false, { timeoutMs: 30 })).toBeUndefined();
    const waiting = codeOf(view.waitFor(tenant, () => false, { timeoutMs: 60_000 }));
    stop.abort();
    expect(await waiting).toBe('internal.cancelled');
    expect(await codeOf(view.waitFor(tenant, () => false, { timeoutMs: 60_000 }))).toBe('internal.cancelled');
    expect((await view.waitFor(tenant, () => true, { timeoutMs: 60_000 }))?.epoch).toBe(2);
  });

  it('says how fresh it is, and is right again after the server was away', async () => {
    const own = await testNats();
    const there = await connectBus({ url: own.url, name: 'test' });
    const cat = await openCatalog(there, { replicas: 1 });
    const stop = new AbortController();
    const [a, b] = [fresh(), fresh()];
    await cat.createTenant(entry(a), placed(a));
    const view = cat.watchPlacements(stop.signal);
    await view.synced;
    const isFresh = () =>
      until(() => view.staleMs < 1500 || undefined, {
        everyMs: 5,
        timeoutMs: 30_000,
        onTimeout: () => new Error(`stale for ${view.staleMs} ms`),
      });
    await sleep(1500);
    await isFresh();
    await own.kill9();
    await sleep(1500);
    expect(view.staleMs).toBeGreaterThan(1400);
    await own.restart();
    await cat.createTenant(entry(b), placed(b));
    expect(await view.waitFor(b, () => true, { timeoutMs: 60_000 })).toEqual(placed(b));
    expect(view.get(a)).toEqual(placed(a));
    await isFresh();
    stop.abort();
    await there.close();
    await own.stop();
  });

  it('forgets who was deleted, and does not stumble over keys that are no tenant’s', async () => {
    const stop = new AbortController();
    const tenant = fresh();
    await catalog.createTenant(entry(tenant), placed(tenant));
    const view = catalog.watchPlacements(stop.signal);
    await view.synced;
    const gone = new Promise((resolve) =>
      view.onChange((changed, p) => changed === tenant && p === null && resolve(true)),
    );
    await catalog.placements.put('_odd', placed(tenant));
    await catalog.placements.delete('_odd');
    const keys = await catalog.placements.keys();
    for (const key of keys) {
      if ((await catalog.placements.get(key))?.value.tenant === tenant) await catalog.placements.delete(key);
    }
    await gone;
    expect(view.get(tenant)).toBeUndefined();
    stop.abort();
  });
});

describe('a view', () => {
  it('that has caught up knows every placement written before, by whomever', async () => {
    const stop = new AbortController();
    const view = catalog.watchPlacements(stop.signal);
    const other = await connectBus({ url: nats.url, name: 'another' });
    const writer = await openCatalog(other, { replicas: 1 });
    for (let i = 0; i < 50; i++) {
      const tenant = fresh();
      await writer.createTenant(entry(tenant), placed(tenant));
      await view.caughtUp();
      expect(view.get(tenant)?.primary).toBe(east);
    }
    await writer.close();
    await other.close();
    stop.abort();
  });
});
