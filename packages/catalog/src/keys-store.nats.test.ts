import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { must, type TenantId } from '@drover/core';
import { codeOf } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Died, FIRST, fresh, KeyWorld, masters, SECOND } from './keys.testing.ts';
import { unwrap } from './keys-record.ts';

let world: KeyWorld;

beforeAll(async () => {
  world = await KeyWorld.start();
});

afterAll(() => world.close());

const range = (n: number) => Array.from({ length: n }, (_, i) => i + 1);
const headOf = async (tenant: TenantId) => (await world.bucket.head(tenant))?.value;

/** A tenant with as many keys. */
async function rotated(keys: number): Promise<TenantId> {
  const tenant = fresh();
  await world.store().seal(tenant);
  for (let i = 1; i < keys; i++) await world.store().rotate(tenant);
  return tenant;
}

/** The key that seals is there and can be unwrapped; of other keys, none is younger. */
async function expectWhole(tenant: TenantId): Promise<number> {
  const head = must(await headOf(tenant), 'head');
  expect(head.state).toBe('sealed');
  const key = must(await world.bucket.key(tenant, head.current), 'current key').value;
  expect(unwrap(must(masters(FIRST).find(1), 'master'), tenant, key)).not.toBeNull();
  return head.current;
}

describe('sealing and rotating', () => {
  it('makes a first key, once', async () => {
    const tenant = fresh();
    expect(await codeOf(world.store().rotate(tenant))).toBe('key.none');
    expect(await world.store().seal(tenant)).toMatchObject({ made: true, head: { current: 1 } });
    expect(await world.store().seal(tenant)).toMatchObject({ made: false, head: { current: 1 } });
    await expectWhole(tenant);
  });

  it('lets another key seal and keeps the ones before', async () => {
    const tenant = await rotated(3);
    expect(await expectWhole(tenant)).toBe(3);
    expect(await world.bucket.idsOf(tenant)).toEqual([1, 2, 3]);
  });

  it('of several at once gives each a key that is new to him, and leaves no other', async () => {
    const tenant = await rotated(1);
    const heads = await Promise.all(range(6).map(() => world.store().rotate(tenant)));
    for (const head of heads) expect(head.current).toBeGreaterThan(1);
    const current = await expectWhole(tenant);
    expect(Math.max(...heads.map((head) => head.current))).toBe(current);
    const named = new Set([1, ...heads.map((head) => head.current)]);
    for (const id of await world.bucket.idsOf(tenant)) expect(named).toContain(id);
  });

  it('of several who seal at once makes one first key', async () => {
    const tenant = fresh();
    const heads = await Promise.all(range(6).map(() => world.store().seal(tenant)));
    expect(new Set(heads.map(({ head }) => head.current)).size).toBe(1);
    expect(await world.bucket.idsOf(tenant)).toEqual([await expectWhole(tenant)]);
  });

  it.each([1, 2])('goes on after a death before write %i, with what was there until then', async (step) => {
    const tenant = await rotated(2);
    await expect((await world.dying(step)).rotate(tenant)).rejects.toThrow(Died);
    expect(await expectWhole(tenant)).toBe(2); // the key nobody has named does not count
    expect((await world.store().rotate(tenant)).current).toBeGreaterThan(2);
    await expectWhole(tenant);
  });

  it.each([1, 2])('seals after a death before write %i of the first time', async (step) => {
    const tenant = fresh();
    await expect((await world.dying(step)).seal(tenant)).rejects.toThrow(Died);
    expect(await headOf(tenant)).toBeUndefined();
    await world.store().seal(tenant);
    await expectWhole(tenant);
  });

  it('does not lose a key when the head was written though its writer was told of a conflict', async () => {
    const tenant = await rotated(1);
    const { records } = world.bucket;
    const update = records.update.bind(records);
    records.update = async (...args) => {
      await update(...args);
      return update(...args);
    };
    try {
      await world.store().rotate(tenant);
    } finally {
      records.update = update;
    }
    await expectWhole(tenant);
  });
});

describe('shredding', () => {
  it('leaves no key, in the bucket or on the disk of the server', async () => {
    const tenant = await rotated(3);
    const wrapped = await Promise.all(
      range(3).map(async (id) => must(await world.bucket.key(tenant, id), 'key').value.wrapped),
    );
    expect(wrapped.every((text) => onDisk(text))).toBe(true); // the search can find them
    expect(await world.store().shred(tenant)).toBe(3);
    expect(await world.bucket.idsOf(tenant)).toEqual([]);
    expect(await headOf(tenant)).toMatchObject({ state: 'shredded', current: 0, last: 3, shredded: 3 });
    for (const id of range(3)) expect(await world.bucket.key(tenant, id)).toBeNull();
    expect(wrapped.some((text) => onDisk(text))).toBe(false);
  });

  it('is refused where there is nothing to shred, and is nothing the second time', async () => {
    expect(await codeOf(world.store().shred(fresh()))).toBe('key.none');
    const tenant = await rotated(1);
    expect(await world.store().shred(tenant)).toBe(1);
    expect(await world.store().shred(tenant)).toBe(0);
    expect(await headOf(tenant)).toMatchObject({ state: 'shredded' });
  });

  it.each([1, 2, 3, 4, 5])('goes on after a death before write %i', async (step) => {
    const tenant = await rotated(3);
    await expect((await world.dying(step)).shred(tenant)).rejects.toThrow(Died);
    const begun = step > 1;
    expect((await headOf(tenant))?.state).toBe(begun ? 'shredding' : 'sealed');
    if (begun) {
      expect(await codeOf(world.store().rotate(tenant))).toBe('key.shredding');
      expect(await codeOf(world.store().seal(tenant))).toBe('key.shredding');
    }
    await world.store().shred(tenant);
    expect(await headOf(tenant)).toMatchObject({ state: 'shredded', shredded: 3 });
    expect(await world.bucket.idsOf(tenant)).toEqual([]);
  });

  it('takes along the key that somebody made and died before naming', async () => {
    const tenant = await rotated(2);
    await expect((await world.dying(2)).rotate(tenant)).rejects.toThrow(Died);
    expect(await world.bucket.idsOf(tenant)).toEqual([1, 2, 3]);
    expect(await world.store().shred(tenant)).toBe(3);
    expect(await world.bucket.idsOf(tenant)).toEqual([]);
  });

  it('lets the tenant be sealed again, under numbers it never had', async () => {
    const tenant = await rotated(2);
    await world.store().shred(tenant);
    expect(await codeOf(world.store().rotate(tenant))).toBe('key.none');
    expect((await world.store().seal(tenant)).head).toMatchObject({ current: 3, shredded: 2 });
    await expectWhole(tenant);
  });

  it('wins over those who rotate at the same time', async () => {
    for (const _ of range(8)) {
      const tenant = await rotated(2);
      const rotations = range(3).map(() => codeOf(world.store().rotate(tenant)));
      await world.store().shred(tenant);
      for (const code of await Promise.all(rotations))
        expect(['done', 'key.none', 'key.shredding']).toContain(code);
      expect(await headOf(tenant)).toMatchObject({ state: 'shredded', current: 0 });
      expect(await world.bucket.idsOf(tenant)).toEqual([]);
    }
  });

  it('of two at once ends as of one', async () => {
    const tenant = await rotated(4);
    await Promise.all([world.store().shred(tenant), world.store().shred(tenant)]);
    expect(await headOf(tenant)).toMatchObject({ state: 'shredded', shredded: 4 });
    expect(await world.bucket.idsOf(tenant)).toEqual([]);
  });
});

describe('another master key', () => {
  it('wraps all keys anew, however often it is cut short, and the one before is needed no more', async () => {
    const tenants = [await rotated(2), await rotated(1)];
    const both = masters(FIRST, SECOND);
    await expect((await world.dying(2, both)).rewrap()).rejects.toThrow(Died);
    const before = await world.store(both).list();
    expect((await world.store(both).rewrap()).refused).toEqual([]);
    expect(await world.store(both).rewrap()).toEqual({ wrapped: 0, refused: [] });
    const second = must(masters(SECOND).find(2), 'master');
    for (const { tenant, keys } of await world.store(both).list()) {
      for (const key of keys) expect(unwrap(second, tenant, key), `${tenant} ${key.id}`).not.toBeNull();
    }
    const createdAt = before.flatMap(({ keys }) => keys.map((key) => key.createdAt));
    const after = (await world.store(both).list()).flatMap(({ keys }) => keys.map((key) => key.createdAt));
    expect(after).toEqual(createdAt);
    for (const tenant of tenants) await world.store(both).shred(tenant);
  });

  it('names the keys that it cannot wrap', async () => {
    const tenant = fresh();
    await world.store(masters(SECOND)).seal(tenant);
    const { refused } = await world.store(masters(FIRST.replace('1:', '3:'))).rewrap();
    expect(refused).toContainEqual({ tenant, id: 1, master: 2 });
    await world.store(masters(SECOND)).shred(tenant);
  });

  it('does not bring back what is shredded meanwhile', async () => {
    for (const _ of range(8)) {
      const tenant = fresh();
      const both = masters(FIRST, SECOND);
      await world.store(masters(FIRST)).seal(tenant);
      await world.store(masters(FIRST)).rotate(tenant);
      await Promise.all([world.store(both).rewrap(), world.store(both).shred(tenant)]);
      expect(await world.bucket.idsOf(tenant)).toEqual([]);
    }
  });
});

it('a server that is killed right behind a shredding comes back without the keys', async () => {
  const tenant = await rotated(2);
  await world.store().shred(tenant);
  await world.nats.kill9();
  await world.nats.restart();
  await world.bus.connected();
  expect(await world.bucket.idsOf(tenant)).toEqual([]);
  expect((await headOf(tenant))?.state).toBe('shredded');
});

function onDisk(text: string): boolean {
  const dir = world.nats.server.storeDir;
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .some((entry) => readFileSync(join(entry.parentPath, entry.name)).includes(text));
}
