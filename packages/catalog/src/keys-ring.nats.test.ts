import {
  type BlockVisitor,
  BlockWriter,
  Opener,
  Packer,
  Sealer,
  sealedUnder,
  walkBlock,
} from '@drover/block';
import { connectBus } from '@drover/bus';
import { clusterId, DroverError, epoch, type Lsn, type TenantId, until } from '@drover/core';
import { codeOf, testNats } from '@drover/testkit';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { FIRST, fresh, KeyWorld, masters, SECOND } from './keys.testing.ts';
import { MasterKeys } from './keys-master.ts';
import { openKeyRing } from './keys-open.ts';
import { headName } from './keys-record.ts';
import type { KeyRing, KeyRingOptions } from './keys-ring.ts';

let world: KeyWorld;
const rings: KeyRing[] = [];

beforeAll(async () => {
  world = await KeyWorld.start();
});

afterEach(() => Promise.all(rings.splice(0).map((ring) => ring.close())));
afterAll(() => world.close());

async function ringOf(options: Partial<KeyRingOptions> = {}): Promise<KeyRing> {
  const ring = await world.ring(options);
  rings.push(ring);
  return ring;
}

const saw = (ring: KeyRing, look: () => boolean) =>
  until(() => (look() ? true : undefined), {
    everyMs: 5,
    timeoutMs: 60_000,
    onTimeout: () => new Error(`not seen by revision ${ring.revision}`),
  });
const refusal = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    return error instanceof DroverError ? error.code : String(error);
  }
  return 'none';
};
const idOf = (ring: KeyRing, tenant: TenantId) => ring.current(tenant)?.id ?? null;

function blockOf(ring: KeyRing, tenant: TenantId): Buffer {
  const writer = new BlockWriter();
  writer.begin(1n as Lsn, 0n, 1);
  writer.message(1n as Lsn, 'drover.test', Buffer.from('secret'));
  const place = { firstLsn: 1n as Lsn, lastLsn: 1n as Lsn, part: 0, complete: true, commitTimeUs: 0n };
  const source = { source: clusterId('east'), database: 'app', systemId: '1', generation: 1 };
  return writer.finish(
    { ...source, ...place, tenant, epoch: epoch(1) },
    new Packer('none', new Sealer(ring)),
  );
}

function read(ring: KeyRing, block: Buffer): string {
  let content = '';
  const visitor = {
    begin() {},
    message: (_l: Lsn, _p: string, bytes: Buffer) => {
      content = bytes.toString();
    },
  };
  walkBlock(block, visitor as unknown as BlockVisitor, { opener: new Opener(ring) });
  return content;
}

describe('a ring', () => {
  it('is told of sealing, rotation and shredding while it runs', async () => {
    const tenant = fresh();
    const [writer, reader] = [await ringOf(), await ringOf()];
    expect(sealedUnder(blockOf(writer, tenant))).toBeNull();

    await world.store().seal(tenant);
    await saw(writer, () => idOf(writer, tenant) === 1);
    const first = blockOf(writer, tenant);
    await world.store().rotate(tenant);
    await saw(writer, () => idOf(writer, tenant) === 2);
    const second = blockOf(writer, tenant);
    expect([first, second].map((block) => sealedUnder(block)?.keyId)).toEqual([1, 2]);
    await saw(reader, () => reader.has(tenant, 2));
    expect([read(reader, first), read(reader, second)]).toEqual(['secret', 'secret']);

    await world.store().shred(tenant);
    await saw(reader, () => !reader.has(tenant, 1));
    for (const block of [first, second]) {
      expect(refusal(() => read(reader, block))).toBe('block.sealed');
      await reader.load(tenant, sealedUnder(block)?.keyId ?? 0);
      expect(refusal(() => read(reader, block))).toBe('block.sealed');
    }
    expect(await codeOf(ringOf().then((late) => read(late, second)))).toBe('block.sealed');
  });

  it('seals what a shredded tenant still writes, so that nobody reads it and nobody waits', async () => {
    const tenant = fresh();
    await world.store().seal(tenant);
    await world.store().shred(tenant);
    const ring = await ringOf();
    const block = blockOf(ring, tenant);
    expect(sealedUnder(block)).toEqual({ tenant, keyId: 0 });
    expect(refusal(() => read(ring, block))).toBe('block.sealed');
    await world.store().seal(tenant);
    await saw(ring, () => idOf(ring, tenant) === 2);
    expect(read(ring, blockOf(ring, tenant))).toBe('secret');
  });

  it('gives the same key as long as it lasts, and another session to whoever starts anew', async () => {
    const tenant = fresh();
    await world.store().seal(tenant);
    const ring = await ringOf();
    expect(ring.current(tenant)).toBe(ring.current(tenant));
    expect(ring.current(tenant)).toBe(ring.find(tenant, 1));
    const salts = [blockOf(ring, tenant), blockOf(await ringOf(), tenant)].map((block) =>
      block.toString('hex', block.readUInt16BE(6) - 20, block.readUInt16BE(6) - 4),
    );
    expect(new Set(salts).size).toBe(2);
  });

  it('finds a key that it has not been told of yet', async () => {
    const tenant = fresh();
    const ring = await ringOf();
    await ring.close(); // it is told of nothing any more
    await world.store().seal(tenant);
    expect(ring.find(tenant, 1)).toBeNull();
    await Promise.all([ring.load(tenant, 1), ring.load(tenant, 1), ring.load(tenant, 2)]);
    expect([ring.find(tenant, 1)?.id, ring.find(tenant, 2)]).toEqual([1, null]);
  });

  it('is there though keys are erased while it reads them', async () => {
    for (let i = 0; i < 10; i++) {
      const tenants = [fresh(), fresh()];
      for (const tenant of tenants) await world.store().seal(tenant);
      const [ring] = await Promise.all([ringOf(), ...tenants.map((tenant) => world.store().shred(tenant))]);
      for (const tenant of tenants) expect(() => ring.current(tenant)).not.toThrow();
    }
  });

  it('keeps a bounded number of keys, and has them all', async () => {
    const tenants = Array.from({ length: 6 }, fresh);
    for (const tenant of tenants) await world.store().seal(tenant);
    const ring = await ringOf({ keysMax: 2 });
    const blocks = tenants.map((tenant) => blockOf(ring, tenant));
    for (const block of [...blocks, ...blocks.toReversed()]) expect(read(ring, block)).toBe('secret');
  });

  it('goes on with the keys under another master key', async () => {
    const tenant = fresh();
    await world.store().seal(tenant);
    const running = await ringOf({ master: masters(FIRST, SECOND) });
    const before = blockOf(running, tenant);
    await world.store(masters(FIRST, SECOND)).rewrap();
    const [revision] = [await world.bucket.records.newest()];
    await saw(running, () => running.revision >= revision);
    expect(read(running, before)).toBe('secret');
    const after = await ringOf({ master: masters(SECOND) });
    expect([read(after, before), read(running, blockOf(after, tenant))]).toEqual(['secret', 'secret']);
    await world.store(masters(SECOND)).shred(tenant);
  });
});

describe('a ring that waits for NATS', () => {
  it('is there when NATS is, and is not made when it is stopped before', async () => {
    const server = await testNats();
    const bus = await connectBus({ url: server.url, name: 'test' });
    await server.kill9();
    const stop = new AbortController();
    const options = { replicas: 1, master: null };
    const [given, left] = [
      openKeyRing(bus, options, AbortSignal.timeout(60_000)),
      openKeyRing(bus, options, stop.signal),
    ];
    stop.abort();
    expect(await left).toBeUndefined();
    await server.restart();
    const ring = await given;
    expect(ring?.current(fresh())).toBeNull();
    await ring?.close();
    await bus.close();
    await server.stop();
  });
});

describe('a ring that cannot have the key', () => {
  it.each([
    ['has no master key', null],
    ['has another generation of it', masters(SECOND)],
    ['has another one of the same generation', masters(SECOND.replace('2:', '1:'))],
  ])('writes nothing and opens nothing when it %s', async (_, master) => {
    const [sealed, open] = [fresh(), fresh()];
    await world.store().seal(sealed);
    const block = blockOf(await ringOf(), sealed);
    const ring = await ringOf({ master });
    expect(refusal(() => blockOf(ring, sealed))).toBe('key.unavailable');
    expect(refusal(() => read(ring, block))).toBe('block.sealed');
    expect(read(ring, blockOf(ring, open))).toBe('secret'); // of others it is no matter
  });

  it('says which master key is wrong, and goes on when it is put right', async () => {
    const tenant = fresh();
    await world.store().seal(tenant);
    const block = blockOf(await ringOf(), tenant);
    let line = SECOND.replace('2:', '1:');
    const ring = await ringOf({ master: new MasterKeys(() => line) });
    expect(() => read(ring, block)).toThrow(/generation 1 of the master key that is here is not the one/);
    expect(() => blockOf(ring, tenant)).toThrow(/generation 1 of the master key that is here is not the one/);
    line = FIRST;
    await saw(ring, () => refusal(() => ring.current(tenant)) === 'none');
    expect(read(ring, blockOf(ring, tenant))).toBe('secret');
  });

  it('knows what is gone for good from what it has not seen', async () => {
    const tenant = fresh();
    await world.store().seal(tenant);
    const ring = await ringOf();
    expect([0, 1, 2].map((id) => ring.lacks(tenant, id))).toEqual([false, false, true]);
    expect([ring.lacks(fresh(), 1), ring.isSealed(tenant), ring.isSealed(fresh())]).toEqual([
      true,
      true,
      false,
    ]);
    await world.store().shred(tenant);
    await saw(ring, () => !ring.has(tenant, 1));
    expect([0, 1, 2].map((id) => ring.lacks(tenant, id))).toEqual([false, false, true]);
    expect(() => ring.find(tenant, 1)).toThrow(/key 1: that key was shredded/);
    expect(() => ring.find(tenant, 0)).toThrow(/nobody kept/);
    expect(ring.isSealed(tenant)).toBe(true);
  });

  it('writes nothing when the record that says so was deleted', async () => {
    const tenant = fresh();
    await world.store().seal(tenant);
    const ring = await ringOf();
    const block = blockOf(ring, tenant);
    await world.bucket.records.delete(headName(tenant));
    await saw(ring, () => refusal(() => ring.current(tenant)) !== 'none');
    expect(refusal(() => blockOf(ring, tenant))).toBe('key.unavailable');
    expect(read(ring, block)).toBe('secret');
    const late = await ringOf();
    expect(refusal(() => blockOf(late, tenant))).toBe('key.unavailable');
    await world.store().seal(tenant); // mends it
    await saw(ring, () => refusal(() => ring.current(tenant)) === 'none');
    expect(read(ring, blockOf(ring, tenant))).toBe('secret');
  });

  it('writes nothing when the record that says so cannot be read', async () => {
    const [tenant, other] = [fresh(), fresh()];
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    try {
      await world.store().seal(tenant);
      await world.bus.js.publish(`$KV.drover_keys.${headName(tenant)}`, 'no JSON');
      const ring = await ringOf();
      expect(refusal(() => blockOf(ring, tenant))).toBe('key.unavailable');
      expect(idOf(ring, other)).toBeNull();
    } finally {
      warned.mockRestore();
      await world.bus.jsm.streams.purge('KV_drover_keys', { filter: `$KV.drover_keys.${headName(tenant)}` });
    }
  });

  it('writes nothing once it is closed', async () => {
    const tenant = fresh();
    const ring = await ringOf();
    await ring.close();
    expect(refusal(() => blockOf(ring, tenant))).toBe('key.unavailable');
  });

  it('is not made when it is stopped meanwhile', async () => {
    expect(await codeOf(world.ring({}).then((ring) => ring.close()))).toBe('done');
  });

  it('writes nothing when the bucket was lost and made anew, empty', async () => {
    const tenant = fresh();
    await world.store().seal(tenant);
    const ring = await ringOf();
    expect(idOf(ring, tenant)).toBe(1);
    await world.bus.jsm.streams.delete('KV_drover_keys');
    await saw(ring, () => idOf(ring, tenant) === 1); // what it knew stays in force
    const late = await ringOf();
    await saw(ring, () => refusal(() => ring.current(tenant)) === 'key.unavailable');
    expect(idOf(late, tenant)).toBeNull(); // who comes later cannot know
  });
});
