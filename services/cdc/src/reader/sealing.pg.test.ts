/** Blocks of sealed tenants leave the reader encrypted, or not at all: while a key cannot be had it stands still, says so, and goes on by itself. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Opener, sealedUnder } from '@drover/block';
import { callRpc, consume, streamName } from '@drover/bus';
import { KeyBucket, KeyRing, KeyStore, MasterKeys, newMasterKey } from '@drover/catalog';
import type { Config } from '@drover/config';
import { partitionOf, sleep, type TenantId, tenantId } from '@drover/core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readBlock } from '../capture/source-script.testing.ts';
import { EAST, makeWorld, ready, stopAll, type World } from '../world.testing.ts';

const file = join(mkdtempSync(join(tmpdir(), 'drover-test-keys-')), 'master.keys');
const RIGHT = newMasterKey(1);
const ACME = tenantId('acme');
const GLOBEX = tenantId('globex');

let world: World;
let bucket: KeyBucket;
let store: KeyStore;
let config: Config;

beforeAll(async () => {
  world = await makeWorld();
  writeFileSync(file, RIGHT);
  bucket = await KeyBucket.open(world.bus, { replicas: 1 });
  store = new KeyStore(bucket, MasterKeys.at({ file }));
  config = { ...world.config, security: { ...world.config.security, masterKey: { file } } };
});

afterEach(() => stopAll(world));
afterAll(() => world.close());

async function read(with_: Config): Promise<string> {
  return (await ready(world, { config: with_ })).url;
}

async function eventually<T>(what: string, probe: () => Promise<T | undefined | false>): Promise<T> {
  const deadline = performance.now() + 90_000;
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > deadline) throw new Error(`not in time: ${what}`);
    await sleep(50);
  }
}

/** The tenant's messages, as they are in the stream. */
async function stored(tenant: TenantId): Promise<Buffer[]> {
  const partition = partitionOf(tenant, world.config.nats.partitions);
  const last = (await world.bus.jsm.streams.info(streamName(EAST, partition))).state.last_seq;
  const found: Buffer[] = [];
  if (last === 0) return found;
  const stop = new AbortController();
  for await (const m of consume(world.bus, { cluster: EAST, partition, startSeq: 1, signal: stop.signal })) {
    if (m.token === tenant) found.push(m.data);
    if (m.seq >= last) break;
  }
  stop.abort();
  return found;
}

const insert = (tenant: TenantId, id: number, note: string) =>
  world.client.query('INSERT INTO items VALUES ($1, $2, $3)', [id, tenant, note]);
const whenStored = (tenant: TenantId, count: number) =>
  eventually(`${count} blocks of ${tenant}`, async () => {
    const blocks = await stored(tenant);
    return blocks.length >= count && blocks;
  });
const readyz = async (url: string) => (await fetch(`${url}/readyz`)).text();
const metric = async (url: string, name: string) => {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)`, 'm').exec(text)?.[1]);
};
const status = async () =>
  (await callRpc(world.bus, 'cdc.east.status', {}, { timeoutMs: 20_000 })) as {
    databases: { state: string; code: string | null; reason: string | null }[];
    keysRevision: number;
  };
const state = async () => (await status()).databases[0];
/** The reader has seen what was done to keys. */
const known = async () => {
  const newest = await bucket.records.newest();
  await eventually('known', async () => (await status()).keysRevision >= newest);
};

describe('a reader', () => {
  it('needs nothing while nobody is sealed', async () => {
    await read(world.config);
    await insert(GLOBEX, 1, 'plain one');
    const blocks = await whenStored(GLOBEX, 1);
    expect(blocks.map(sealedUnder)).toEqual([null]);
    expect(Buffer.concat(blocks).includes('plain one')).toBe(true);
  });

  it('seals the blocks of sealed tenants and no others, from the moment on', async () => {
    const url = await read(config);
    await store.seal(ACME);
    await known();
    await insert(ACME, 1, 'hidden one');
    await insert(GLOBEX, 2, 'plain two');
    const [blocks, others] = [await whenStored(ACME, 1), await whenStored(GLOBEX, 2)];
    expect(blocks.map(sealedUnder)).toEqual([{ tenant: ACME, keyId: 1 }]);
    expect(Buffer.concat(blocks).includes('hidden one')).toBe(false);
    expect(Buffer.concat(others).includes('plain two')).toBe(true);
    const ring = await KeyRing.open(world.bus, { replicas: 1, master: MasterKeys.at({ file }) });
    const { records } = readBlock(ACME, blocks[0] ?? Buffer.alloc(0), { opener: new Opener(ring) });
    expect(records.at(-1)).toContain(Buffer.from('hidden one').toString('hex'));
    await ring.close();
    await eventually('counted', async () => (await metric(url, 'drover_cdc_sealed_blocks_total')) === 1);
  });

  it.each([
    ['no master key', undefined],
    ['another generation of it', newMasterKey(2)],
    ['another one of the same generation', newMasterKey(1)],
  ])('with %s stands still and says so, and publishes nothing unsealed', async (_, wrong) => {
    const before = await stored(ACME);
    if (wrong !== undefined) writeFileSync(file, wrong);
    const url = await read(wrong === undefined ? world.config : config);
    await insert(ACME, 100 + before.length, 'hidden two');
    await eventually('failed', async () => (await state())?.code === 'key.unavailable');
    const reads = async () =>
      (
        await world.client.query(
          `SELECT FROM pg_replication_slots WHERE slot_name LIKE 'drover%' AND active AND database = current_database()`,
        )
      ).rowCount !== 0;
    await eventually('the slot is free', async () => !(await reads()));
    await sleep(1500);
    expect(await state()).toMatchObject({ state: 'failed', code: 'key.unavailable' });
    expect(await readyz(url)).toMatch(/key\.unavailable: tenant acme cannot be sealed: .*master key/);
    expect(await metric(url, 'drover_cdc_key_missing')).toBe(1);
    expect(await reads()).toBe(false); // the source is not asked again and again
    expect(await stored(ACME)).toHaveLength(before.length);
    if (wrong === undefined) {
      await stopAll(world);
      await read(config);
    } else writeFileSync(file, RIGHT); // by itself
    const after = await whenStored(ACME, before.length + 1);
    expect(after.map((block) => sealedUnder(block)?.keyId)).toEqual(after.map(() => 1));
    expect(Buffer.concat(after).includes('hidden two')).toBe(false);
    if (wrong !== undefined) await eventually('reading', async () => (await state())?.state === 'streaming');
  });

  it('whose master key cannot be read does not start', async () => {
    const broken = { ...config, security: { ...config.security, masterKey: { file: `${file}.none` } } };
    await expect(read(broken)).rejects.toMatchObject({ code: 'key.master' });
  });

  it('does not wait for a tenant whose keys were shredded', async () => {
    await read(config);
    await store.shred(ACME);
    await known();
    const before = await stored(ACME);
    await insert(ACME, 500, 'hidden three');
    await insert(GLOBEX, 500, 'plain three');
    await whenStored(GLOBEX, 3);
    const after = await whenStored(ACME, before.length + 1);
    expect(sealedUnder(after.at(-1) ?? Buffer.alloc(0))).toEqual({ tenant: ACME, keyId: 0 });
    expect(Buffer.concat(after).includes('hidden')).toBe(false);
  });
});
