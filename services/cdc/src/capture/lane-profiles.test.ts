/** Profiles in a lane: before the blocks that need them, in messages of their own, sealed as their tenant is, and no part of what is resumed from. */
import {
  learn,
  Opener,
  Packer,
  readHeader,
  readProfileBlock,
  Sealer,
  type SealingKeys,
  sealedUnder,
} from '@drover/block';
import { newMasterKey, parseMasterKeys } from '@drover/catalog/keys-master.ts';
import { clusterId, DroverError, type Lsn, type TenantId, tenantId } from '@drover/core';
import { beforeEach, describe, expect, it } from 'vitest';
import { Assembler } from './assembler.ts';
import { EpochMap } from './epoch-map.ts';
import { type Group, Lane } from './lane.ts';
import { Marks } from './marks.ts';
import type { Outgoing } from './outgoing.ts';
import { Profiles } from './profiles.ts';
import { ITEMS, insert, message, tuple } from './source-script.testing.ts';

const ACME = tenantId('acme');
const IDENTITY = { source: clusterId('east'), database: 'app', systemId: '7', generation: 1 };
const TAGGING = {
  mode: 'column' as const,
  column: 'tenant',
  overrides: {},
  reference: [],
  exclude: [],
  schemaPrefix: '',
  databasePrefix: '',
};
const SECRET = parseMasterKeys(newMasterKey(1)).get(1)!.secret;
const KEY = { id: 1, secret: SECRET };

let sealedNow: boolean;
let keyless: boolean;
let lane: Lane;
let to: Assembler;
let profiles: Profiles;
let lsn: number;

const keys: SealingKeys = {
  current: (tenant: TenantId) => {
    if (keyless) throw new DroverError('key.unavailable', 'no', { facts: { tenant } });
    return sealedNow ? KEY : null;
  },
};

beforeEach(() => {
  sealedNow = false;
  keyless = false;
  lsn = 1000;
  profiles = new Profiles({
    learner: { learn: (messages, tenant) => Promise.resolve(learn(messages, { tenant, tables: 'app' })) },
    nowMs: () => 0,
    maxAgeMs: 0,
    flows: () => true,
  });
  lane = new Lane(3, IDENTITY, new Marks(), new Packer('auto', new Sealer(keys), profiles), profiles);
  to = new Assembler({
    lanes: [lane],
    epochs: new EpochMap(),
    plan: { tagging: TAGGING, database: 'app', types: new Map(), rules: null },
    keyless: new Set(),
    events: { onCut: () => undefined, onUnassigned: () => undefined },
  });
  to.relation(ITEMS.oid, ITEMS);
});

function write(note = 'an order'): void {
  lsn += 16;
  to.begin(BigInt(lsn) as Lsn, BigInt(lsn * 50), lsn);
  insert(to, ITEMS.oid, tuple(`${lsn}`, 'acme', `${note} number ${lsn} of an unlikely customer`));
  to.commit(BigInt(lsn) as Lsn, BigInt(lsn + 8) as Lsn, 5n);
}

function publish(): Group {
  write();
  return lane.takeGroup(to.lastCommit) as Group;
}

const aside = ({ messages }: Group): Outgoing[] => messages.filter(({ token }) => token === '_profile');

/** Until one is learnt; the group it goes before. */
async function learnt(): Promise<Group> {
  for (;;) {
    const group = publish();
    if (aside(group).length > 0) return group;
    await new Promise(setImmediate);
  }
}

describe('a profile', () => {
  it('goes first in a group, and blocks after it need it', async () => {
    const group = await learnt();
    expect(group.messages.map(({ token }) => token)).toEqual(['_profile', 'acme']);
    const [found, block] = group.messages;
    const opener = new Opener({ find: () => null });
    expect(readProfileBlock(found!.block, opener).model.tenant).toBe('acme');
    expect(found).toMatchObject({
      part: 0,
      complete: true,
      id: expect.stringMatching(/^7\.1\._profile\.[0-9a-f]+\.0\.app$/),
    });
    expect(found!.lastLsn).toBeLessThanOrEqual(block!.lastLsn);
    expect([group.bytes, group.lastLsn]).toEqual([found!.block.length + block!.block.length, block!.lastLsn]);
    expect(block!.block[5]! & 64).toBe(0);
    found?.onSeq?.(5);
    const next = publish();
    expect(next.messages.map(({ token }) => token)).toEqual(['acme']);
    expect(next.messages[0]!.block[5]! & 64).toBe(64);
    expect(next.messages[0]!.block.length).toBeLessThan(block!.block.length - 50);
  });

  it('leaves no mark: where a reader resumes does not depend on it', async () => {
    const group = await learnt();
    expect(aside(group).length).toBe(1);
    expect(lane.marks.of('_profile')).toEqual(lane.marks.of('nobody'));
    expect(lane.marks.safeLsn).toBe(to.lastCommit);
  });

  it('of a sealed tenant is sealed, and so are the blocks', async () => {
    sealedNow = true;
    const group = await learnt();
    const [found] = aside(group);
    expect(sealedUnder(found!.block)?.keyId).toBe(1);
    expect(found!.block.includes('unlikely')).toBe(false);
    found?.onSeq?.(5);
    const next = publish().messages[0]!;
    expect([sealedUnder(next.block)?.keyId, next.block[5]! & 64]).toEqual([1, 64]);
    sealedNow = false; // its keys were shredded, say: nothing of what was learnt leaves in the clear
    expect(publish().messages[0]!.block[5]! & 64).toBe(0);
    for (let i = 0; i < 20; i++) expect(aside(publish())).toEqual([]);
    expect(readHeader(next.block).tenant).toBe(ACME);
  });

  it('whose key cannot be had is left out, and holds nobody up', async () => {
    const before = lane.takeGroup(to.lastCommit);
    expect(before).toBeNull();
    for (let i = 0; i < 127 + 256; i++) publish();
    await new Promise(setImmediate);
    write();
    lane.settleEarlier(); // what is written of it is sealed by now
    expect(profiles.active).toBe(1);
    keyless = true;
    const group = lane.takeGroup(to.lastCommit);
    expect(group?.messages.map(({ token }) => token)).toEqual(['acme']);
  });

  it('is not used for what is no row of the tenant', async () => {
    const group = await learnt();
    aside(group)[0]?.onSeq?.(5);
    lsn += 16;
    to.begin(BigInt(lsn) as Lsn, 5n, lsn);
    message(to, BigInt(lsn), 'drover.barrier', { tenant: 'acme', id: 'b' });
    to.commit(BigInt(lsn) as Lsn, BigInt(lsn + 8) as Lsn, 5n);
    const barrier = lane.takeGroup(to.lastCommit)?.messages ?? [];
    expect(barrier.length).toBeGreaterThan(0);
    for (const { block } of barrier) expect(block[5]! & 64).toBe(0);
  });
});
