/** Transactions that come before they have committed: what comes out, case by case. */
import { readHeader, type StreamedHeader } from '@drover/block';
import { clusterId, epoch, type Lsn } from '@drover/core';
import { beforeEach, describe, expect, it } from 'vitest';
import { Assembler } from './assembler.ts';
import { EpochMap } from './epoch-map.ts';
import { Lane } from './lane.ts';
import type { Outgoing } from './outgoing.ts';
import { ITEMS, insert, message, readBlock, tuple } from './source-script.testing.ts';
import { NotStreamed } from './streamed.ts';

const IDENTITY = { source: clusterId('east'), database: 'app', systemId: '7', generation: 1 };
const TAGGING = {
  mode: 'column' as const,
  column: 'tenant',
  overrides: {},
  reference: [],
  exclude: [],
  schemaPrefix: 'tenant_',
  databasePrefix: 'tenant_',
};

let lane: Lane;
let out: Outgoing[];
let to: Assembler;
let assigned: number;
let epochs: EpochMap;

function reader(attempt: string, partBytes = 10_000, leastBytes = 0): void {
  lane.discard();
  lane.attempt = attempt;
  to = new Assembler({
    lanes: [lane],
    epochs,
    plan: { tagging: TAGGING, database: 'app', types: new Map() },
    partBytes,
    leastBytes,
    attempt,
    events: { onCut: () => flush(), onUnassigned: () => undefined },
  });
  to.relation(ITEMS.oid, ITEMS);
}

function flush(): Outgoing[] {
  const messages = lane.takeGroup(to.lastCommit)?.messages ?? [];
  assigned += messages.length;
  out.push(...messages);
  return [...messages];
}

beforeEach(() => {
  out = [];
  assigned = 40;
  epochs = new EpochMap();
  lane = new Lane(0, IDENTITY);
  lane.assigned = () => assigned;
  reader('first');
});

const row = (id: string, tenant: string, xid?: number) => {
  if (xid !== undefined) to.streamChange(xid);
  insert(to, 100, tuple(id, tenant, 'x'));
};

/** Changes of a transaction in progress, each under its subtransaction. */
function chunk(xid: number, work: () => void): void {
  to.streamStart(xid);
  to.streamChange(xid);
  work();
  to.streamStop();
}

const commit = (xid: number, lsn: number) =>
  to.streamCommit(xid, BigInt(lsn) as Lsn, BigInt(lsn + 1) as Lsn, 5n);

function small(lsn: number, work: () => void): void {
  to.begin(BigInt(lsn) as Lsn, 5n, lsn);
  work();
  to.commit(BigInt(lsn) as Lsn, BigInt(lsn + 1) as Lsn, 5n);
}

const said = (header: StreamedHeader | undefined): string => {
  switch (header?.kind) {
    case undefined:
      return '';
    case 'part':
      return `part ${header.cut}${header.last ? ' last' : ''} of ${header.xid}`;
    case 'rollback':
      return `rollback ${header.subxid} of ${header.xid}`;
    case 'commit':
      return `commit ${header.xid} of ${header.parts} from ${header.fromSeq}${header.rollbacks ? ' less' : ''}`;
    case 'together':
      return `together ${header.tenants} of ${header.xid}`;
    case 'session':
      return `session ${header.attempt}`;
  }
};
const brief = (messages: readonly Outgoing[] = out) =>
  messages.map((m) => {
    const { records, part } = readBlock(m.token, m.block);
    const rows = records.filter((r) => r.startsWith('+')).map((r) => r.slice(7).split(',')[0]);
    const runs = records.flatMap((r) =>
      r.startsWith('message drover.run') ? [/"x":(\d+)/.exec(r)?.[1]] : [],
    );
    const what = said(readHeader(m.block).streamed);
    return [m.token, what, what.startsWith('part') ? `#${part}` : '', rows.join(' '), runs.join(' ')]
      .filter((s) => s !== '')
      .join(' | ');
  });

describe('a transaction in progress', () => {
  it('leaves as it comes, tenant by tenant, and is closed by a few bytes', () => {
    chunk(9, () => {
      row('1', 'acme');
      row('2', 'bolt');
    });
    chunk(9, () => row('3', 'acme'));
    expect(lane.waitingBytes).toBe(0);
    commit(9, 50);
    flush();
    expect(brief()).toEqual([
      'acme | part 0 of 9 | #0 | 1 | 9',
      'bolt | part 0 last of 9 | #0 | 2 | 9',
      'acme | part 1 last of 9 | #1 | 3 | 9',
      '_heartbeat | together 2 of 9',
      'acme | commit 9 of 2 from 40',
      'bolt | commit 9 of 1 from 40',
    ]);
    expect(out.map((m) => m.lastLsn)).toEqual([0n, 0n, 0n, 0n, 50n, 50n]);
  });

  describe('of many tenants', () => {
    const MANY = Array.from({ length: 20 }, (_, i) => `t${i + 10}`);
    const one = (id: string, text = 'x') =>
      chunk(9, () => {
        for (const tenant of MANY) insert(to, 100, tuple(id, tenant, text));
      });

    it('is collected until each part is worth it, and leaves with what is left at the commit', () => {
      one('1');
      one('2');
      expect(out).toEqual([]);
      one('3', 'x'.repeat(1950)); // with what came before as much as four pieces of 10,000
      expect(out.length).toBe(20);
      expect(brief()[0]).toBe('t10 | part 0 of 9 | #0 | 1 2 3 | 9');
      expect(brief()[19]).toBe('t29 | part 0 last of 9 | #0 | 1 2 3 | 9');
      one('4');
      commit(9, 50);
      flush();
      expect(out.length).toBe(61);
      expect(brief()[39]).toBe('t29 | part 1 last of 9 | #1 | 4 | 9');
      expect(brief()[40]).toBe('_heartbeat | together 20 of 9');
      expect(brief()[60]).toBe('t29 | commit 9 of 2 from 40');
    });

    it('stands behind what was committed while it was collected', () => {
      one('1');
      small(30, () => row('8', 't12'));
      one('2', 'x'.repeat(2000));
      expect(brief().slice(0, 2)).toEqual(['t12 | 8', 't10 | part 0 of 9 | #0 | 1 2 | 9']);
      expect(out.length).toBe(21);
    });

    it('has no heartbeat, and no barrier for all, before what had committed by then', () => {
      small(10, () => message(to, 9n, 'drover.heartbeat', { at: 1 }));
      small(12, () => row('8', 't12'));
      small(14, () => message(to, 13n, 'drover.barrier', { tenant: '*', id: 'b' }));
      one('1', 'x'.repeat(2100));
      expect(brief().slice(0, 2)).toEqual(['t12 | 8', '_heartbeat | session first']);
      expect(out[1]?.lastLsn).toBe(14n);
    });

    it('has what is rolled back before the word that it is', () => {
      to.streamStart(9);
      for (const tenant of MANY) row('1', tenant, 7);
      to.streamStop();
      to.streamAbort(9, 7);
      flush();
      expect(out.length).toBe(21);
      expect(brief()[20]).toBe('_heartbeat | rollback 7 of 9');
      one('2');
      to.streamAbort(9, 9);
      flush();
      expect(brief().slice(21)).toEqual(['_heartbeat | rollback 9 of 9']);
    });

    it('is collected within bounds, however many transactions there are', () => {
      reader('first', 8 * 1024 * 1024);
      const large = 'x'.repeat(300_000);
      for (const xid of [5, 6, 7]) {
        chunk(xid, () => {
          for (const tenant of MANY) insert(to, 100, tuple(String(xid), tenant, large));
        });
      }
      expect(new Set(out.map((m) => said(readHeader(m.block).streamed)))).toEqual(
        new Set(['part 0 of 7', 'part 0 last of 7']),
      );
    });
  });

  it('counts what it keeps a row in as well: thousands of small transactions in progress do not add up', () => {
    reader('first', 8 * 1024 * 1024);
    const many = Array.from({ length: 1000 }, (_, i) => `t${i + 1000}`);
    for (const xid of [5, 6, 7, 8]) {
      chunk(xid, () => {
        for (const tenant of many) row(String(xid), tenant);
      });
    }
    // A thousand of 4 KiB four times; with the fifth it is over 16 MiB.
    expect(out).toEqual([]);
    chunk(9, () => {
      for (const tenant of many) row('9', tenant);
    });
    expect(new Set(out.map((m) => said(readHeader(m.block).streamed)))).toEqual(
      new Set(['part 0 of 9', 'part 0 last of 9']),
    );
  });

  it('of which little has come stays for a while, and leaves with its commit', () => {
    reader('first', 10_000, 100);
    chunk(9, () => row('1', 'acme'));
    chunk(9, () => row('2', 'acme'));
    expect(out).toEqual([]);
    chunk(9, () => row('3', 'acme'));
    expect(brief()).toEqual(['acme | part 0 last of 9 | #0 | 1 2 3 | 9']);
    chunk(9, () => row('4', 'acme'));
    commit(9, 50);
    flush();
    expect(brief().slice(1)).toEqual([
      'acme | part 1 last of 9 | #1 | 4 | 9',
      '_heartbeat | together 1 of 9',
      'acme | commit 9 of 2 from 40',
    ]);
  });

  it('is cut where it is large', () => {
    reader('first', 30);
    chunk(9, () => {
      for (const id of ['1', '2', '3', '4']) row(id, 'acme');
    });
    const cuts = [0, 1, 2, 3].map((n) => `acme | part ${n} last of 9 | #${n} | ${n + 1} | 9`);
    expect(brief()).toEqual(cuts);
  });

  it('says whose its rows are, and what is void', () => {
    chunk(9, () => {
      row('1', 'acme');
      row('2', 'acme', 10);
      row('3', 'bolt', 10);
      row('4', 'acme', 9);
    });
    to.streamAbort(9, 10);
    chunk(9, () => row('5', 'acme', 11));
    commit(9, 50);
    flush();
    expect(brief()).toEqual([
      'acme | part 0 of 9 | #0 | 1 2 4 | 9 10 9',
      'bolt | part 0 last of 9 | #0 | 3 | 10',
      '_heartbeat | rollback 10 of 9',
      'acme | part 1 last of 9 | #1 | 5 | 11',
      '_heartbeat | together 2 of 9',
      'acme | commit 9 of 2 from 40 less',
      'bolt | commit 9 of 1 from 40 less',
    ]);
  });

  it('that is rolled back says so once, if anything of it has left', () => {
    chunk(9, () => row('1', 'acme'));
    chunk(8, () => undefined);
    to.streamAbort(9, 9);
    to.streamAbort(8, 8);
    to.streamAbort(7, 7);
    flush();
    expect(brief()).toEqual(['acme | part 0 last of 9 | #0 | 1 | 9', '_heartbeat | rollback 9 of 9']);
    expect(to.streamedTransactions).toBe(0);
  });

  it('stands behind what its tenants have committed before', () => {
    small(10, () => row('1', 'acme'));
    chunk(9, () => row('2', 'acme'));
    small(20, () => row('3', 'acme'));
    commit(9, 50);
    flush();
    expect(brief()).toEqual([
      'acme | 1',
      'acme | part 0 last of 9 | #0 | 2 | 9',
      'acme | 3',
      '_heartbeat | together 1 of 9',
      'acme | commit 9 of 1 from 40',
    ]);
  });

  it('counts for nothing in the marks until it has committed', () => {
    small(10, () => row('1', 'acme'));
    flush();
    chunk(9, () => row('2', 'acme'));
    expect(out.at(-1)).toMatchObject({ lastLsn: 10n, part: 0, complete: true });
    expect(lane.firstPending).toBeNull();
    expect(lane.marks.partsSent('acme', 50n as Lsn)).toBe(0);
    commit(9, 50);
    expect(lane.firstPending).toBe(50n);
    flush();
    expect(lane.marks.partsSent('acme', 50n as Lsn)).toBe(Number.POSITIVE_INFINITY);
    expect(to.lastEnd).toBe(51n);
  });

  it('is told under the epoch of its commit', () => {
    epochs.learn('acme', epoch(4), 30n as Lsn);
    chunk(9, () => row('1', 'acme'));
    commit(9, 50);
    flush();
    expect(readBlock('acme', out.at(-1)!.block).epoch).toBe(4);
    const names = readBlock('_heartbeat', out.at(-2)!.block).records.at(-1);
    expect(names).toBe('message drover.together {"tenants":[["acme",4]]}');
  });

  it('sees tables as it has made them, others see them so once it has committed', () => {
    const wider = {
      ...ITEMS,
      columns: [...ITEMS.columns, { name: 'more', typeOid: 25, typmod: -1, key: false }],
    };
    chunk(9, () => {
      to.relation(100, wider);
      insert(to, 100, tuple('1', 'acme', 'x', 'y'));
    });
    small(10, () => row('2', 'acme'));
    commit(9, 50);
    small(60, () => insert(to, 100, tuple('3', 'acme', 'x', 'z')));
    flush();
    const lines = out.flatMap((m) => readBlock(m.token, m.block).records.filter((r) => r.startsWith('+')));
    expect(lines).toEqual(['+items 1,acme,x,y', '+items 2,acme,x', '+items 3,acme,x,z']);
  });

  it('is not told again to those who have it', () => {
    chunk(9, () => {
      row('1', 'acme');
      row('2', 'bolt');
    });
    commit(9, 50);
    flush();
    reader('second');
    out = [];
    chunk(9, () => {
      row('1', 'acme');
      row('2', 'bolt');
    });
    commit(9, 50);
    flush();
    // Nobody is to wait for the second attempt.
    expect(brief().slice(2)).toEqual(['_heartbeat | rollback 9 of 9']);
  });
});

describe('what must come whole', () => {
  const ddl = (lsn: bigint) => message(to, lsn, 'drover.ddl', { tag: 'ALTER TABLE', tables: [], types: [] });

  it('is void, and asked for again at its commit', () => {
    chunk(9, () => row('1', 'acme'));
    chunk(9, () => ddl(12n));
    chunk(9, () => row('2', 'acme'));
    flush();
    expect(brief()).toEqual(['acme | part 0 last of 9 | #0 | 1 | 9', '_heartbeat | rollback 9 of 9']);
    expect(() => commit(9, 50)).toThrow(expect.objectContaining({ until: 50n }));
    expect(to.lastEnd).toBe(0n);
  });

  it('also when the change comes first, or beside a rollback', () => {
    chunk(9, () => {
      ddl(12n);
      row('1', 'acme');
    });
    expect(() => commit(9, 50)).toThrow(NotStreamed);
    reader('second');
    chunk(8, () => ddl(13n));
    to.streamAbort(8, 88);
    expect(() => commit(8, 60)).toThrow(NotStreamed);
    expect(flush()).toEqual([]);
  });

  it('of messages alone needs no second reading', () => {
    chunk(9, () => message(to, 12n, 'drover.barrier', { tenant: 'acme', id: 'b' }));
    commit(9, 50);
    expect(flush().map((m) => readBlock(m.token, m.block).records)).toEqual([
      ['begin 50', 'message drover.barrier {"tenant":"acme","id":"b"}'],
    ]);
  });
});

it('heartbeats say which reading this is', () => {
  small(10, () => message(to, 9n, 'drover.heartbeat', { at: 1 }));
  reader('second');
  small(20, () => message(to, 19n, 'drover.heartbeat', { at: 2 }));
  flush();
  expect(brief()).toEqual(['_heartbeat | session second']);
});
