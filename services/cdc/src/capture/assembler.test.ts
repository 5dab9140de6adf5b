/** What comes out for what went in, case by case. */
import { clusterId, epoch, type Lsn } from '@drover/core';
import { beforeEach, describe, expect, it } from 'vitest';
import { Assembler } from './assembler.ts';
import { EpochMap } from './epoch-map.ts';
import { Lane } from './lane.ts';
import { ITEMS, insert, message, type ReadBlock, readGroup, tuple, update } from './source-script.testing.ts';

const TAGGING = {
  mode: 'column' as const,
  column: 'tenant',
  overrides: { 'public.branches': 'bid' },
  reference: ['public.countries'],
  exclude: ['public.junk'],
  schemaPrefix: 'tenant_',
  databasePrefix: 'tenant_',
};
const IDENTITY = { source: clusterId('east'), database: 'app', systemId: '7', generation: 1 };

let lane: Lane;
let epochs: EpochMap;
let complaints: string[];
let cuts: ReadBlock[];
let to: Assembler;

function setUp(tagging: object = {}, partBytes = 1000): void {
  lane = new Lane(0, IDENTITY);
  epochs = new EpochMap();
  complaints = [];
  cuts = [];
  to = new Assembler({
    lanes: [lane],
    epochs,
    plan: { tagging: { ...TAGGING, ...tagging }, database: 'tenant_db', types: new Map() },
    partBytes,
    events: {
      onCut: (l) => cuts.push(...readGroup(l.takeGroup(to.lastCommit)?.messages ?? [])),
      onUnassigned: (reason, relation) => complaints.push(`${reason} ${relation.name}`),
    },
  });
  to.relation(ITEMS.oid, ITEMS);
}

function transaction(lsn: number, work: () => void): void {
  to.begin(BigInt(lsn) as Lsn, 5n, lsn);
  work();
  to.commit(BigInt(lsn) as Lsn, BigInt(lsn + 1) as Lsn, 5n);
}

const flush = () => readGroup(lane.takeGroup(to.lastCommit)?.messages ?? []);
const brief = (blocks: readonly ReadBlock[]) =>
  blocks.map((b) => `${b.token}${b.epoch === 0 ? '' : `@${b.epoch}`}: ${b.records.join('; ')}`);

beforeEach(() => setUp());

describe('assembling', () => {
  it('gives each tenant its share of each transaction, whole', () => {
    transaction(10, () => {
      insert(to, 100, tuple('1', 'acme', 'a'));
      insert(to, 100, tuple('2', 'bolt', 'b'));
      insert(to, 100, tuple('3', 'acme', 'c'));
    });
    transaction(20, () => insert(to, 100, tuple('4', 'acme', 'd')));
    const group = flush();
    expect(brief(group)).toEqual([
      'acme: begin 10; +items 1,acme,a; +items 3,acme,c; begin 20; +items 4,acme,d',
      'bolt: begin 10; +items 2,bolt,b',
    ]);
    expect(group[0]).toMatchObject({ firstLsn: 10n, lastLsn: 20n, part: 0, complete: true });
  });

  it('costs nothing for transactions without changes', () => {
    transaction(10, () => {});
    expect(lane.waitingBytes).toBe(0);
    expect(flush()).toEqual([]);
    expect(to.counts.transactions).toBe(0);
  });

  it.each([
    [21, Buffer.from('fffe', 'hex'), '-2'],
    [23, Buffer.from('00000007', 'hex'), '7'],
    [20, Buffer.from('7fffffffffffffff', 'hex'), '9223372036854775807'],
    [2950, Buffer.from('0123456789abcdef0123456789abcdef', 'hex'), '01234567-89ab-cdef-0123-456789abcdef'],
    [1042, Buffer.from('acme  '), 'acme'],
    [1043, Buffer.from('a b'), 'a=20b'],
  ])('reads a tenant of type %i', (typeOid, value, token) => {
    const relation = { ...ITEMS, columns: [{ name: 'tenant', typeOid, typmod: -1, key: true }] };
    to.relation(100, relation);
    transaction(10, () => insert(to, 100, tuple(value)));
    expect(flush().map((b) => b.token)).toEqual([token]);
  });

  it('tells equal bytes of different types apart, and equal tenants of different types together', () => {
    const other = {
      ...ITEMS,
      oid: 101,
      name: 'branches',
      columns: [{ name: 'bid', typeOid: 23, typmod: -1, key: true }],
    };
    to.relation(101, other);
    transaction(10, () => {
      insert(to, 100, tuple('1', '1234', 'a'));
      insert(to, 101, tuple(Buffer.from('1234'))); // int4 825373492
      insert(to, 101, tuple(Buffer.from([0, 0, 4, 210]))); // int4 1234
    });
    expect(flush().map((b) => `${b.token} ${b.records.length}`)).toEqual(['1234 3', '825373492 2']);
  });

  it('puts rows of nobody on record', () => {
    const plain = {
      ...ITEMS,
      oid: 102,
      name: 'plain',
      columns: [{ name: 'id', typeOid: 23, typmod: -1, key: true }],
    };
    to.relation(102, plain);
    transaction(10, () => {
      insert(to, 100, tuple('1', null, 'a'));
      insert(to, 100, tuple('2', '_shared', 'b')); // nobody writes to all by spelling it
      insert(to, 100, tuple('3', '', 'c'));
      insert(to, 102, tuple('4'));
    });
    expect(brief(flush())).toEqual([
      '_unassigned: begin 10; +items 1,·,a; +items 2,_shared,b; +items 3,,c; +plain 4',
    ]);
    expect(complaints).toEqual([
      'null_tenant items',
      'bad_tenant items',
      'bad_tenant items',
      'unclassified_table plain',
    ]);
  });

  it('sends reference tables to _shared and leaves excluded ones out', () => {
    to.relation(103, { ...ITEMS, oid: 103, name: 'countries' });
    to.relation(104, { ...ITEMS, oid: 104, name: 'junk' });
    transaction(10, () => {
      insert(to, 103, tuple('1', null, 'a'));
      insert(to, 104, tuple('2', 'acme', 'b'));
    });
    expect(brief(flush())).toEqual(['_shared: begin 10; +countries 1,·,a']);
    expect(complaints).toEqual([]);
  });

  it('takes the tenant from the schema or the database', () => {
    setUp({ mode: 'schema' });
    to.relation(100, { ...ITEMS, schema: 'tenant_acme' });
    transaction(10, () => insert(to, 100, tuple('1', 'x', 'a')));
    expect(flush().map((b) => b.token)).toEqual(['acme']);
    setUp({ mode: 'database' });
    transaction(10, () => insert(to, 100, tuple('1', 'x', 'a')));
    expect(flush().map((b) => b.token)).toEqual(['db']);
  });
});

describe('a row that moves between tenants', () => {
  it('is deleted for one and inserted for the other', () => {
    transaction(10, () => update(to, 100, 'K', tuple('1', 'acme', null), tuple('1', 'bolt', 'x')));
    expect(brief(flush())).toEqual(['acme: begin 10; -items K:1,acme,·', 'bolt: begin 10; +items 1,bolt,x']);
    expect(to.counts.moves).toBe(1);
  });

  it('takes unchanged columns from the whole old row', () => {
    to.relation(100, { ...ITEMS, identity: 'f' });
    const old = tuple('1', 'acme', Buffer.from('big'));
    transaction(10, () => update(to, 100, 'O', old, tuple('1', 'bolt', undefined)));
    expect(brief(flush())[1]).toBe('bolt: begin 10; +items 1,bolt,0x626967');
  });

  it('keeps an unchanged column marked when there is no whole old row', () => {
    transaction(10, () => update(to, 100, 'K', tuple('1', 'acme', null), tuple('1', 'bolt', undefined)));
    expect(brief(flush())[1]).toBe('bolt: begin 10; +items 1,bolt,?');
  });

  it('is an ordinary update when the tenant stays', () => {
    transaction(10, () => {
      update(to, 100, 'K', tuple('1', 'acme', null), tuple('2', 'acme', 'x'));
      update(to, 100, null, null, tuple('2', 'acme', 'y'));
    });
    expect(brief(flush())).toEqual(['acme: begin 10; ~items K:1,acme,· -> 2,acme,x; ~items 2,acme,y']);
  });

  it('is found though the new row leaves the tenant out as unchanged', () => {
    transaction(10, () => update(to, 100, 'K', tuple('1', 'acme', null), tuple('2', undefined, 'x')));
    expect(flush().map((b) => b.token)).toEqual(['acme']);
  });
});

describe('deletes and truncates', () => {
  it('a delete whose old key lacks the tenant is nobody’s, loudly', () => {
    const columns = ITEMS.columns.map((c) => ({ ...c, key: c.name === 'id' }));
    to.relation(100, { ...ITEMS, columns });
    transaction(10, () => {
      const row = tuple('1', null, null);
      to.delete(100, 'K', 0, row.length, row);
    });
    expect(flush().map((b) => b.token)).toEqual(['_unassigned']);
    expect(complaints).toEqual(['identity_lacks_tenant items']);
  });

  it('a truncate of rows of many tenants stands on record as nobody’s', () => {
    to.relation(103, { ...ITEMS, oid: 103, name: 'countries' });
    transaction(10, () => to.truncate([100, 103], 2));
    expect(brief(flush())).toEqual([
      '_unassigned: begin 10; truncate items 2',
      '_shared: begin 10; truncate countries 2',
    ]);
    expect(complaints).toEqual(['truncate items']);
  });
});

describe('messages', () => {
  it('a barrier closes its tenant’s block and is urgent', () => {
    transaction(10, () => insert(to, 100, tuple('1', 'acme', 'a')));
    transaction(20, () => message(to, 15n, 'drover.barrier', { tenant: 'acme', id: 'b1' }));
    expect(lane.urgent).toBe(true);
    transaction(30, () => insert(to, 100, tuple('2', 'acme', 'b')));
    expect(brief(flush())).toEqual([
      'acme: begin 10; +items 1,acme,a; begin 20; message drover.barrier {"tenant":"acme","id":"b1"}',
      'acme: begin 30; +items 2,acme,b',
    ]);
    expect(lane.urgent).toBe(false);
  });

  it('heartbeats and barriers for all go behind everything else of the group', () => {
    transaction(10, () => message(to, 5n, 'drover.heartbeat', { at: 1 }));
    transaction(20, () => message(to, 15n, 'drover.barrier', { tenant: '*', id: 'b' }));
    transaction(30, () => insert(to, 100, tuple('1', 'acme', 'a')));
    expect(flush().map((b) => b.token)).toEqual(['acme', '_heartbeat']);
  });

  it('what is not in form does not stop the reader', () => {
    transaction(10, () => {
      message(to, 5n, 'drover.epoch', { tenant: '_evil', epoch: 'x' });
      message(to, 5n, 'drover.barrier', []);
      message(to, 5n, 'someone.else', { tenant: 'acme' });
    });
    expect(flush()).toEqual([]);
  });

  it('an epoch never shares a block with another', () => {
    transaction(10, () => insert(to, 100, tuple('1', 'acme', 'a')));
    transaction(20, () => message(to, 15n, 'drover.epoch', { tenant: 'acme', epoch: 4 }));
    transaction(30, () => insert(to, 100, tuple('2', 'acme', 'b')));
    expect(brief(flush())).toEqual([
      'acme: begin 10; +items 1,acme,a',
      'acme@4: begin 20; message drover.epoch {"tenant":"acme","epoch":4}',
      'acme@4: begin 30; +items 2,acme,b',
    ]);
  });

  it('epochs known beforehand begin at their commit', () => {
    epochs.learn('acme', epoch(2), 15n as Lsn);
    transaction(10, () => insert(to, 100, tuple('1', 'acme', 'a')));
    transaction(20, () => insert(to, 100, tuple('2', 'acme', 'b')));
    expect(brief(flush())).toEqual(['acme: begin 10; +items 1,acme,a', 'acme@2: begin 20; +items 2,acme,b']);
  });
});

describe('a large transaction', () => {
  it('is cut into parts, each published at once, and the last completes it', () => {
    setUp({}, 60);
    transaction(10, () => insert(to, 100, tuple('0', 'acme', 'x')));
    transaction(20, () => {
      for (let i = 1; i <= 5; i++) insert(to, 100, tuple(String(i), 'acme', 'x'));
    });
    expect(cuts.map((b) => `${b.lastLsn}.${b.part} ${b.complete} ${b.records.length}`)).toEqual([
      '10.0 true 2',
      '20.0 false 3',
      '20.1 false 3',
    ]);
    transaction(30, () => insert(to, 100, tuple('9', 'acme', 'x')));
    expect(flush().map((b) => `${b.lastLsn}.${b.part} ${b.complete} ${b.records.length}`)).toEqual([
      '20.2 true 2',
      '30.0 true 2',
    ]);
  });

  it('does not hold back what committed before it', () => {
    transaction(10, () => insert(to, 100, tuple('0', 'acme', 'x')));
    to.begin(20n as Lsn, 5n, 20);
    insert(to, 100, tuple('1', 'acme', 'x'));
    expect(brief(flush())).toEqual(['acme: begin 10; +items 0,acme,x']);
    expect(lane.firstPending).toBe(20n);
    insert(to, 100, tuple('2', 'acme', 'x'));
    expect(flush()).toEqual([]);
    to.commit(20n as Lsn, 21n as Lsn, 5n);
    expect(brief(flush())).toEqual(['acme: begin 20; +items 1,acme,x; +items 2,acme,x']);
    expect(lane.firstPending).toBe(null);
    expect(lane.openBytes).toBe(0);
  });
});
