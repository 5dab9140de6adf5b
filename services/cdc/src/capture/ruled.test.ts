/** What leaves of rows under rules: nothing that is to be hidden, whatever goes wrong. */

import { configFromParts } from '@drover/config';
import { clusterId, type Lsn } from '@drover/core';
import { type Rule, rulesOf } from '@drover/transform';
import { beforeEach, describe, expect, it } from 'vitest';
import { Assembler } from './assembler.ts';
import { EpochMap } from './epoch-map.ts';
import { Lane } from './lane.ts';
import { RuledRows } from './ruled.ts';
import { ITEMS, insert, type ReadBlock, readGroup, tuple, update } from './source-script.testing.ts';

const TAGGING = {
  mode: 'column' as const,
  column: 'tenant',
  overrides: {},
  reference: [],
  exclude: [],
  schemaPrefix: '',
  databasePrefix: '',
};
const IDENTITY = { source: clusterId('east'), database: 'app', systemId: '7', generation: 1 };

let lane: Lane;
let cuts: ReadBlock[];
let told: string[];
let to: Assembler;

function setUp(transform: readonly object[], partBytes = 1000): void {
  const tiers = { gold: {} };
  const config = configFromParts({
    transform: transform.map((rule) => ({ tables: ['public.items'], stage: 'publish', ...rule })),
    sections: { tiers },
  });
  const rules: Rule[] = rulesOf(config);
  lane = new Lane(0, IDENTITY);
  cuts = [];
  told = [];
  const plan = { tagging: TAGGING, database: 'app', types: new Map() };
  const tierOf = (tenant: string) => ({ acme: 'gold', bolt: 'standard' })[tenant];
  to = new Assembler({
    lanes: [lane],
    epochs: new EpochMap(),
    plan: { ...plan, rules: new RuledRows({ ...plan, rules, secret: 's', tierOf }) },
    partBytes,
    events: {
      onCut: (l) => cuts.push(...readGroup(l.takeGroup(to.lastCommit)?.messages ?? [])),
      onUnassigned: () => {},
      onWithheld: (tenant, table, why) => told.push(`${tenant} ${table}: ${why}`),
    },
  });
  to.relation(ITEMS.oid, ITEMS);
}

function transaction(lsn: number, work: () => void): void {
  to.begin(BigInt(lsn) as Lsn, 5n, lsn);
  work();
  to.commit(BigInt(lsn) as Lsn, BigInt(lsn + 1) as Lsn, 5n);
}

function remove(old: Buffer): void {
  to.delete(100, 'K', 0, old.length, old);
}

const brief = (blocks: readonly ReadBlock[]) => blocks.map((b) => `${b.token}: ${b.records.join('; ')}`);
const flush = () => brief(readGroup(lane.takeGroup(to.lastCommit)?.messages ?? []));
const stars = { mask: 'note', with: 'partial', fill: '*' };

describe('rows under rules', () => {
  beforeEach(() => setUp([{ tenants: ['acme'], actions: [stars] }]));

  it('are masked for those whom the rule is for', () => {
    transaction(10, () => {
      insert(to, 100, tuple('1', 'acme', 'secret'));
      insert(to, 100, tuple('2', 'bolt', 'plain'));
      update(to, 100, null, null, tuple('1', 'acme', 'hush'));
      remove(tuple('1', 'acme', null));
    });
    expect(flush()).toEqual([
      'acme: begin 10; +items 1,acme,******; ~items 1,acme,****; -items K:1,acme,·',
      'bolt: begin 10; +items 2,bolt,plain',
    ]);
  });

  it('that move to another tenant are masked on that side alone', () => {
    transaction(10, () => update(to, 100, 'K', tuple('1', 'bolt', null), tuple('1', 'acme', 'secret')));
    expect(flush()).toEqual(['bolt: begin 10; -items K:1,bolt,·', 'acme: begin 10; +items 1,acme,******']);
  });

  it('and nobody knows whose, do not leave', () => {
    transaction(10, () => insert(to, 100, tuple('1', null, 'secret')));
    expect(flush()).toEqual([]);
  });
});

describe('a filter', () => {
  it('turns updates into inserts and deletes, and cuts transactions where they were cut without it', () => {
    const rows = () => {
      for (let i = 0; i < 40; i++) insert(to, 100, tuple(String(i % 2), 'acme', 'x'.repeat(60)));
      update(to, 100, 'K', tuple('0', 'acme', null), tuple('1', 'acme', 'in'));
      update(to, 100, 'K', tuple('1', 'acme', null), tuple('0', 'acme', 'out'));
    };
    setUp([]);
    transaction(10, rows);
    const whole = [...cuts, ...readGroup(lane.takeGroup(to.lastCommit)?.messages ?? [])];
    setUp([{ where: 'id = 1' }]);
    transaction(10, rows);
    const some = [...cuts, ...readGroup(lane.takeGroup(to.lastCommit)?.messages ?? [])];
    expect(some.map((b) => [b.part, b.complete])).toEqual(whole.map((b) => [b.part, b.complete]));
    const records = some.flatMap((b) => b.records).filter((r) => !r.startsWith('begin'));
    expect(records.filter((r) => r.startsWith('+items 1,acme,xx'))).toHaveLength(20);
    expect(records.slice(20)).toEqual(['+items 1,acme,in', '-items K:1,acme,·']);
  });

  it('leaves nothing of transactions that it leaves out', () => {
    setUp([{ where: 'id = 1' }]);
    transaction(10, () => insert(to, 100, tuple('2', 'acme', 'a')));
    expect(lane.waitingBytes).toBe(0);
    expect(flush()).toEqual([]);
  });
});

describe('a rule that cannot be carried out', () => {
  it('withholds the rows of its tenants, says so once a transaction, and lets others go on', () => {
    setUp([{ tenants: ['acme'], actions: [{ mask: 'ssn', with: 'hash' }] }]);
    transaction(10, () => {
      insert(to, 100, tuple('1', 'acme', 'secret'));
      insert(to, 100, tuple('2', 'acme', 'secret'));
      insert(to, 100, tuple('3', 'bolt', 'plain'));
    });
    const [acme, bolt] = flush();
    expect(acme).toMatch(
      /^acme: begin 10; message drover\.withheld \{"table":"public\.items","why":".*no column/,
    );
    expect(acme).not.toMatch(/secret|items 1/);
    expect(bolt).toBe('bolt: begin 10; +items 3,bolt,plain');
    expect(told).toHaveLength(1);
  });

  it('is one of a tier, for a tenant of whom that is not known', () => {
    setUp([{ tier: 'gold', actions: [stars] }]);
    transaction(10, () => {
      for (const tenant of ['acme', 'bolt', 'cara']) insert(to, 100, tuple('1', tenant, 'secret'));
    });
    const [acme, bolt, cara] = flush();
    expect(acme).toBe('acme: begin 10; +items 1,acme,******');
    expect(bolt).toBe('bolt: begin 10; +items 1,bolt,secret');
    expect(cara).toMatch(/withheld.*tier/);
  });

  it('is one whose table was renamed, or whose column was, also where the rule has a pattern', () => {
    setUp([{ tables: ['public.item*'], tenants: ['acme'], actions: [stars] }]);
    transaction(10, () => insert(to, 100, tuple('1', 'acme', 'secret')));
    expect(flush()).toEqual(['acme: begin 10; +items 1,acme,******']);
    for (const [lsn, changed] of [
      [20, { ...ITEMS, name: 'things' }],
      [30, { ...ITEMS, columns: ITEMS.columns.map((c) => ({ ...c, name: c.name.replace('note', 'memo') })) }],
    ] as const) {
      to.relation(ITEMS.oid, changed);
      transaction(lsn, () => {
        insert(to, 100, tuple('1', 'acme', 'secret'));
        insert(to, 100, tuple('1', 'bolt', 'plain'));
      });
      const [acme, bolt] = flush();
      expect(acme).toMatch(/drover\.withheld .*(was public\.items|no column \\"note\\" any more)/);
      expect(acme).not.toContain('secret');
      expect(bolt).toContain('1,bolt,plain');
    }
  });

  it('makes a transaction in progress come whole', () => {
    setUp([{ actions: [{ mask: 'ssn', with: 'hash' }] }]);
    to.streamStart(5);
    to.relation(ITEMS.oid, ITEMS);
    insert(to, 100, tuple('1', 'acme', 'secret'));
    to.streamStop();
    expect([...brief(cuts), ...flush()]).toEqual([]);
    expect(() => to.streamCommit(5, 10n as Lsn, 11n as Lsn, 5n)).toThrow(/without streaming/);
  });
});

it('rows of a transaction in progress are masked, too', () => {
  setUp([{ actions: [stars] }]);
  to.streamStart(5);
  to.relation(ITEMS.oid, ITEMS);
  insert(to, 100, tuple('1', 'acme', 'secret'));
  to.streamStop();
  expect(brief(cuts).join()).toContain('+items 1,acme,******');
});
