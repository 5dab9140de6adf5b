/** Tenants whose rows are withheld because their keys cannot be had: nothing of a row leaves, whatever it comes by, and it is said each time. */

import { Opener, Packer, Sealer, type SealingKeys, sealedUnder } from '@drover/block';
import { newMasterKey, parseMasterKeys } from '@drover/catalog/keys-master.ts';
import { configFromParts } from '@drover/config';
import { clusterId, DroverError, type Lsn, type TenantId, tenantId } from '@drover/core';
import { rulesOf } from '@drover/transform';
import { beforeEach, expect, it } from 'vitest';
import { Assembler } from './assembler.ts';
import { EpochMap } from './epoch-map.ts';
import { Lane } from './lane.ts';
import { Marks } from './marks.ts';
import type { Outgoing } from './outgoing.ts';
import { RuledRows } from './ruled.ts';
import {
  ITEMS,
  insert,
  message,
  type ReadBlock,
  readBlock,
  readGroup,
  tuple,
  update,
} from './source-script.testing.ts';
import { NotStreamed } from './streamed.ts';

const ACME = tenantId('acme');
const BOLT = tenantId('bolt');
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
const WITHHELD = 'message drover.withheld {"key":true}';

let keyless: Set<TenantId>;
let lane: Lane;
let cuts: Outgoing[];
let ruled: string[];
let to: Assembler;

/** Both are to be sealed; keys can be had of those that are not withheld. */
const keys: SealingKeys = {
  current: (tenant) => {
    if (!keyless.has(tenant)) return { id: 1, secret: SECRET };
    throw new DroverError('key.unavailable', 'no', { facts: { tenant } });
  },
};

beforeEach(() => {
  keyless = new Set([ACME]);
  cuts = [];
  ruled = [];
  lane = new Lane(0, IDENTITY, new Marks(), new Packer('none', new Sealer(keys)));
  const masked = { tables: ['public.items'], stage: 'publish', actions: [{ drop: 'nothing' }] };
  const rules = rulesOf(configFromParts({ transform: [{ ...masked, tenants: ['acme'] }] }));
  const plan = { tagging: TAGGING, database: 'app', types: new Map() };
  to = new Assembler({
    lanes: [lane],
    epochs: new EpochMap(),
    plan: { ...plan, rules: new RuledRows({ ...plan, rules, secret: 's', tierOf: () => 'standard' }) },
    partBytes: 200,
    keyless,
    events: {
      onCut: (l) => cuts.push(...(l.takeGroup(to.lastCommit)?.messages ?? [])),
      onUnassigned: () => undefined,
      onWithheld: (tenant, table) => ruled.push(`${tenant} ${table}`),
    },
  });
  to.relation(ITEMS.oid, ITEMS);
  to.relation(200, { ...ITEMS, oid: 200, name: 'plain' });
});

function transaction(lsn: number, work: () => void): void {
  to.begin(BigInt(lsn) as Lsn, 5n, lsn);
  work();
  to.commit(BigInt(lsn) as Lsn, BigInt(lsn + 1) as Lsn, 5n);
}
const flush = (): readonly Outgoing[] => lane.takeGroup(to.lastCommit)?.messages ?? [];
/** Of the one tenant, of which nothing may need a key. */
const told = (messages: readonly Outgoing[]): ReadBlock[] =>
  readGroup(messages.filter(({ token }) => token === ACME));
const seals = (messages: readonly Outgoing[], tenant: TenantId) =>
  messages.filter(({ token }) => token === tenant).map(({ block }) => sealedUnder(block)?.keyId ?? null);

it('are told once a transaction, whatever it does, and others go on', () => {
  transaction(10, () => {
    insert(to, 200, tuple('1', 'acme', 'secret'));
    insert(to, 200, tuple('2', 'acme', 'secret'));
    insert(to, 200, tuple('3', 'bolt', 'other'));
  });
  transaction(20, () => update(to, 200, null, null, tuple('1', 'acme', 'secret')));
  transaction(30, () => {
    const old = tuple('1', 'acme', null);
    to.delete(200, 'K', 0, old.length, old);
  });
  const out = flush();
  expect(told(out).map(({ records }) => records)).toEqual([
    ['begin 10', WITHHELD, 'begin 20', WITHHELD, 'begin 30', WITHHELD],
  ]);
  expect(seals(out, ACME)).toEqual([null]);
  expect(seals(out, BOLT)).toEqual([1]);
  for (const { block, token } of out) if (token === ACME) expect(block.includes('plain')).toBe(false);
});

it('leave no row in a table under rules either, nor the table’s name', () => {
  transaction(10, () => insert(to, 100, tuple('1', 'acme', 'secret')));
  const out = flush();
  expect(told(out).map(({ records }) => records)).toEqual([['begin 10', WITHHELD]]);
  expect(out[0]?.block.includes('items')).toBe(false);
  expect(ruled).toEqual([]);
});

it('are cut at the same places as with their keys', () => {
  const large = () =>
    transaction(10, () => {
      for (let i = 0; i < 20; i++) insert(to, 200, tuple(String(i), 'acme', 'x'.repeat(40)));
    });
  large();
  const places = ({ firstLsn, lastLsn, part, complete }: Outgoing) => [firstLsn, lastLsn, part, complete];
  const without = [...cuts, ...flush()].map(places);
  expect(without.length).toBeGreaterThan(3);
  keyless.clear();
  lane.discard();
  const fresh = new Lane(0, IDENTITY, new Marks(), new Packer('none', new Sealer(keys)));
  cuts = [];
  lane = fresh;
  to = new Assembler({
    lanes: [fresh],
    epochs: new EpochMap(),
    plan: { tagging: TAGGING, database: 'app', types: new Map() },
    partBytes: 200,
    keyless,
    events: {
      onCut: (l) => cuts.push(...(l.takeGroup(to.lastCommit)?.messages ?? [])),
      onUnassigned: () => undefined,
    },
  });
  to.relation(200, { ...ITEMS, oid: 200, name: 'plain' });
  large();
  expect([...cuts, ...flush()].map(places)).toEqual(without);
});

it('carry barriers and epochs, and go on with the next transaction once the key is there, sealed', () => {
  transaction(10, () => {
    message(to, 9n, 'drover.epoch', { tenant: 'acme', epoch: 2 });
    insert(to, 200, tuple('1', 'acme', 'secret'));
    message(to, 10n, 'drover.barrier', { tenant: 'acme', id: 'b' });
  });
  expect(seals(flush(), ACME)).toEqual([null]);
  transaction(20, () => {
    insert(to, 200, tuple('2', 'acme', 'secret'));
    keyless.delete(ACME); // seen with a heartbeat, at any time
    insert(to, 200, tuple('3', 'acme', 'secret'));
  });
  transaction(30, () => insert(to, 200, tuple('4', 'acme', 'public')));
  const out = flush();
  expect(seals(out, ACME)).toEqual([1]);
  const opener = new Opener({ find: () => ({ id: 1, secret: SECRET }) });
  const { records } = readBlock(ACME, out[0]?.block ?? Buffer.alloc(0), { opener });
  expect(records).toEqual(['begin 20', WITHHELD, 'begin 30', '+plain 4,acme,public']);
});

it('are not written while a transaction is in progress: it is read again as a whole', () => {
  to.streamStart(7);
  to.streamChange(7);
  insert(to, 200, tuple('1', 'acme', 'secret'));
  to.streamStop();
  expect(() => to.streamCommit(7, 50n as Lsn, 51n as Lsn, 5n)).toThrow(NotStreamed);
  expect(told([...cuts, ...flush()])).toEqual([]);
});

it('whose key is lost while a block of theirs is open let nothing of it out', () => {
  keyless.clear();
  transaction(10, () => insert(to, 200, tuple('1', 'acme', 'secret')));
  keyless.add(ACME);
  expect(() => flush()).toThrow(/no/); // key.unavailable, by the sealer
  transaction(20, () => insert(to, 200, tuple('2', 'acme', 'secret')));
  expect(() => flush()).toThrow('rows of a tenant whose key cannot be had');
});
