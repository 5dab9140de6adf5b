/** Lists of as many tenants as Drover is made for: no answer may be larger than a message of NATS or of gRPC. */
import { epoch, tenantId } from '@drover/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EAST, makeWorld, type World } from './world.testing.ts';

const TENANTS = 10_000;
const AT_ONCE = 500;
/** What gRPC clients take. */
const GRPC_BYTES_MAX = 4 * 1024 * 1024;

const nameOf = (i: number) => `tenant-with-a-name-of-some-length-${String(i).padStart(5, '0')}`;
const NAMES = Array.from({ length: TENANTS }, (_, i) => nameOf(i));
let world: World;

beforeAll(async () => {
  world = await makeWorld();
  const now = new Date(0).toISOString();
  const place = (name: string) =>
    world.place({
      tenant: tenantId(name),
      epoch: epoch(1),
      primary: EAST,
      lastMove: {
        id: 'd2c1b7c0-0000-4000-8000-000000000000',
        kind: 'switchover',
        from: EAST,
        to: EAST,
        outcome: 'aborted',
        error: 'a transaction stayed open for longer than drain_timeout '.repeat(5),
        endedAt: now,
      },
    } as Partial<Parameters<World['place']>[0]>);
  for (let i = 0; i < TENANTS; i += AT_ONCE) await Promise.all(NAMES.slice(i, i + AT_ONCE).map(place));
});
afterAll(() => world.close());

describe('with 10,000 tenants', () => {
  it('each is listed once, by name, in pages', async () => {
    const found: string[] = [];
    let pages = 0;
    let token = '';
    do {
      const page = await world.tenants.listTenants({ pageToken: token });
      found.push(...page.tenants.map((t) => t.tenant));
      token = page.nextPageToken;
      pages++;
    } while (token !== '');
    expect(found).toEqual(NAMES);
    expect(pages).toBe(10);
    const small = await world.tenants.listTenants({
      pageSize: 3,
      pageToken: Buffer.from(nameOf(41)).toString('base64url'),
    });
    expect(small.tenants.map((t) => t.tenant)).toEqual([nameOf(42), nameOf(43), nameOf(44)]);
  });

  it('the lag of each is told once, the largest first, and the largest alone when asked', async () => {
    const reason = 'apply.conflict: duplicate key value violates unique constraint '.repeat(5);
    const feeds = NAMES.map((tenant, i) => ({
      tenant,
      source: 'east',
      epoch: 1,
      feed: 'live',
      lagSeconds: i / 10,
      commitLsn: '0/5',
      pending: 0,
      reason,
    }));
    expect(JSON.stringify(feeds).length).toBeGreaterThan(GRPC_BYTES_MAX);
    expect(JSON.stringify(feeds).length).toBeGreaterThan(3 * world.bus.maxPayload);
    await world.answerList('apply.west.lag', (request) => {
      const { tenant } = request as { tenant: string };
      return tenant === '' ? feeds : feeds.filter((feed) => feed.tenant === tenant);
    });
    const largest = NAMES.toReversed();
    const first = await world.replication.getLag({});
    expect(first.lags.map((l) => l.tenant)).toEqual(largest.slice(0, 1000));
    expect(first.total).toBe(TENANTS);
    const many = await world.replication.getLag({ limit: 1_000_000 });
    expect(many.lags.map((l) => l.tenant)).toEqual(largest.slice(0, 5000));
    expect(await world.replication.getLag({ tenant: nameOf(7) })).toMatchObject({
      total: 1,
      lags: [{ lagSeconds: 0.7 }],
    });

    const told: string[] = [];
    let messages = 0;
    const moments = new Set<string>();
    for await (const { at, lags, more, unreachable } of world.replication.watchLag({})) {
      told.push(...lags.map((l) => l.tenant));
      messages++;
      moments.add(`${at?.seconds} ${at?.nanos}`);
      expect(unreachable).toEqual(['east']);
      if (!more) break;
    }
    expect(told).toEqual(largest);
    expect(messages).toBeGreaterThan(1);
    expect(moments.size).toBe(1);
    expect((await world.replication.getStatus({})).tenants).toBe(TENANTS);
  });
});
