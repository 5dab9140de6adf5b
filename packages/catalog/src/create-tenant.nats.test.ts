import { type Bus, connectBus } from '@drover/bus';
import { clusterId, epoch, type TenantId, tenantId } from '@drover/core';
import { codeOf, type TestNats, testNats } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Catalog, openCatalog } from './catalog.ts';
import type { Placement } from './placement.ts';
import type { Tenant } from './tenant.ts';

let nats: TestNats;
let buses: Bus[];
let catalogs: Catalog[];

beforeAll(async () => {
  nats = await testNats();
  buses = await Promise.all(['a', 'b', 'c', 'd'].map((name) => connectBus({ url: nats.url, name })));
  catalogs = await Promise.all(buses.map((bus) => openCatalog(bus, { replicas: 1 })));
});

afterAll(async () => {
  await Promise.all(buses.map((bus) => bus.close()));
  await nats.stop();
});

/** Entry and placement say whose they are: `by` is the tier of both, and the request id unless it is `nobody`. */
function wanted(tenant: TenantId, by: string): [Tenant, Placement] {
  const request = by === 'nobody' ? {} : { requestId: by };
  const at = '2026-01-01T00:00:00.000Z';
  return [
    { tenant, isolation: 'column', tier: by, users: {}, state: 'active', createdAt: at, ...request },
    {
      tenant,
      epoch: epoch(1),
      epochSeq: 0,
      primary: clusterId('east'),
      database: 'app',
      tier: by,
      replicas: {},
      state: 'active',
      updatedAt: at,
    },
  ];
}

describe('a name that several ask for at once', () => {
  it.each(Array.from({ length: 12 }, (_, i) => i))('is one’s, with entry and placement (%i)', async (n) => {
    const tenant = tenantId(`wanted-${n}`);
    const outcomes = await Promise.all(
      catalogs.map((catalog, i) => codeOf(catalog.createTenant(...wanted(tenant, `r${i}`)))),
    );
    expect(outcomes.filter((code) => code === 'done')).toHaveLength(1);
    expect(new Set(outcomes)).toEqual(new Set(['done', 'tenant.exists']));
    const winner = `r${outcomes.indexOf('done')}`;
    const found = await catalogs[0]?.getTenant(tenant);
    expect([found?.requestId, found?.tier]).toEqual([winner, winner]);
    expect((await catalogs[0]?.getPlacement(tenant))?.value.tier).toBe(winner);
  });

  it('is had by all of them when they repeat one request', async () => {
    const tenant = tenantId('repeated');
    const outcomes = await Promise.all(
      catalogs.map((catalog) => codeOf(catalog.createTenant(...wanted(tenant, 'r')))),
    );
    expect(outcomes).toEqual(['done', 'done', 'done', 'done']);
    expect((await catalogs[0]?.getPlacement(tenant))?.value.tier).toBe('r');
  });

  it.each(['the same', 'another'])(
    'is completed by %s request when who asked first died behind the entry',
    async (who) => {
      const tenant = tenantId(`half-${who.replace(' ', '-')}`);
      const by = who === 'another' ? 'r1' : 'r0';
      const [catalog] = catalogs as [Catalog];
      await catalog.tenants.create(tenant, wanted(tenant, 'r0')[0]);
      await catalog.createTenant(...wanted(tenant, by));
      expect((await catalog.getTenant(tenant))?.requestId).toBe(by);
      expect((await catalog.getPlacement(tenant))?.value).toMatchObject({ tier: by, registeredBy: by });
    },
  );

  it('is the one’s who made the placement, also when he died before he could say so in the entry', async () => {
    const tenant = tenantId('died-late');
    const [catalog] = catalogs as [Catalog];
    await catalog.tenants.create(tenant, wanted(tenant, 'r1')[0]);
    await catalog.placements.create(tenant, { ...wanted(tenant, 'r0')[1], registeredBy: 'r0' });
    expect(await codeOf(catalog.createTenant(...wanted(tenant, 'r1')))).toBe('tenant.exists');
    await catalog.createTenant(...wanted(tenant, 'r0'));
    expect((await catalog.getTenant(tenant))?.requestId).toBe('r0');
  });

  it.each([
    ['before the other’s placement', 'r0'],
    ['after it', 'r0'],
    ['before the other’s placement', 'nobody'],
    ['after it', 'nobody'],
  ])('is one’s though the other takes him for dead, and writes the entry %s (%s)', async (when, winner) => {
    const tenant = tenantId(`${when === 'after it' ? 'dead-after' : 'dead-before'}-${winner}`);
    const [a, b] = (await Promise.all(buses.slice(0, 2).map((bus) => openCatalog(bus, { replicas: 1 })))) as [
      Catalog,
      Catalog,
    ];
    const hasEntry = Promise.withResolvers<void>();
    const mayPlace = Promise.withResolvers<void>();
    const place = a.placements.create.bind(a.placements);
    a.placements.create = async (...args) => {
      hasEntry.resolve();
      await mayPlace.promise;
      return place(...args);
    };
    const first = codeOf(a.createTenant(...wanted(tenant, winner)));
    await hasEntry.promise;
    const firstGoesOn = async () => {
      mayPlace.resolve();
      await first;
    };
    if (when === 'after it') {
      const look = b.placements.get.bind(b.placements);
      b.placements.get = async (key) => {
        const found = await look(key);
        await firstGoesOn();
        return found;
      };
    } else {
      const then = b.placements.create.bind(b.placements);
      b.placements.create = async (...args) => {
        await firstGoesOn();
        return then(...args);
      };
    }
    const second = await codeOf(b.createTenant(...wanted(tenant, 'r1')));
    expect([await first, second]).toEqual(['done', 'tenant.exists']);
    expect((await a.getTenant(tenant))?.tier).toBe(winner);
    expect((await a.getPlacement(tenant))?.value.tier).toBe(winner);
  });
});
