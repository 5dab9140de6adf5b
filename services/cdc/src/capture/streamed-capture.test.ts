/** What leaves for transactions that come before they have committed, case by case. */
import { readHeader } from '@drover/block';
import type { Lsn } from '@drover/core';
import { beforeEach, describe, expect, it } from 'vitest';
import { Marks } from './marks.ts';
import { insert, readBlock, tuple, update } from './source-script.testing.ts';
import { StreamedScript } from './streamed-script.testing.ts';

let script: StreamedScript;

beforeEach(() => {
  script = new StreamedScript('a');
});

describe('a transaction in progress', () => {
  it('leaves tenant by tenant at the end of each stretch, and is told of as committed once', () => {
    script.stretch(7, '7 1 acme', '7 2 bolt', '7 3 acme');
    script.stretch(7, '7 4 acme');
    script.commit(7, 50);
    expect(script.told).toEqual([
      'acme | part of a/7 piece 0 | run {"n":1,"x":7} | +items 1,acme,x | +items 3,acme,x',
      'bolt | part of a/7 piece 0, last | run {"n":1,"x":7} | +items 2,bolt,x',
      'acme | part of a/7 piece 1, last | run {"n":1,"x":7} | +items 4,acme,x',
      '_heartbeat | together a/7 of 2 | together {"tenants":[["acme",0],["bolt",0]]}',
      'acme | commit a/7 parts 2 behind 100',
      'bolt | commit a/7 parts 1 behind 100',
    ]);
    expect(script.out.map(({ block }) => readHeader(block).part)).toEqual([0, 0, 1, 0, 0, 0]);
  });

  it('holds the slot by nothing before its commit, and by its commit until that is acknowledged', () => {
    script.stretch(7, '7 1 acme');
    expect(script.lane.firstPending).toBeNull();
    script.to.streamCommit(7, 50n as Lsn, 51n as Lsn, 5n);
    expect(script.lane.firstPending).toBe(50n);
    const group = script.lane.takeGroup(script.to.lastCommit);
    expect(group?.firstLsn).toBe(50n);
  });

  it('says nothing of how far its tenants have come', () => {
    script.plain(40, '1 acme');
    script.flush();
    script.stretch(7, '7 2 acme', '7 3 bolt');
    const marks = script.out.slice(1).map(({ lastLsn, part, complete }) => ({ lastLsn, part, complete }));
    const behind = { lastLsn: 40n, part: 0, complete: true };
    expect(marks).toEqual([behind, behind]);
    expect(script.lane.marks.partsSent('bolt', 50n as Lsn)).toBe(0);
    script.commit(7, 50);
    expect(script.out.at(-1)).toMatchObject({ token: 'bolt', lastLsn: 50n, part: 0, complete: true });
  });

  it('stands behind what has committed before its rows', () => {
    script.plain(40, '1 acme', '2 bolt');
    script.stretch(7, '7 3 acme');
    script.flush();
    expect(script.told).toEqual([
      'acme | +items 1,acme,x',
      'bolt | +items 2,bolt,x',
      'acme | part of a/7 piece 0, last | run {"n":1,"x":7} | +items 3,acme,x',
    ]);
  });

  it('has its commit behind all that committed before, of whatever tenant, and before all that commits later', () => {
    script.stretch(7, '7 1 acme');
    script.plain(40, '2 bolt');
    script.to.streamCommit(7, 50n as Lsn, 51n as Lsn, 5n);
    script.plain(60, '3 acme');
    script.flush();
    expect(script.out.map(({ token, lastLsn }) => `${token} ${lastLsn}`).slice(1)).toEqual([
      'bolt 40',
      expect.stringContaining('_heartbeat'),
      'acme 50',
      'acme 60',
    ]);
  });

  it('holds no more than a piece', () => {
    script = new StreamedScript('a', [], new Marks(), 500);
    let most = 0;
    script.to.streamStart(7);
    script.to.streamChange(7);
    for (let i = 0; i < 2000; i++) {
      insert(script.to, 100, tuple(String(i), `t${i % 5}`, 'x'.repeat(100)));
      most = Math.max(most, script.lane.waitingBytes);
    }
    script.to.streamStop();
    script.commit(7, 50);
    expect(most).toBeLessThan(5 * 500);
    expect(script.to.streamedTransactions).toBe(0);
    const found = script.out.flatMap((m) =>
      readBlock(m.token, m.block).records.filter((r) => r.startsWith('+')),
    );
    expect(found).toHaveLength(2000);
  });

  it('moves a row between tenants', () => {
    script.to.streamStart(7);
    script.to.streamChange(7);
    update(script.to, 100, 'K', tuple('1', 'acme', null), tuple('1', 'bolt', 'x'));
    script.to.streamStop();
    expect(script.told).toEqual([
      'acme | part of a/7 piece 0 | run {"n":1,"x":7} | -items K:1,acme,·',
      'bolt | part of a/7 piece 0, last | run {"n":1,"x":7} | +items 1,bolt,x',
    ]);
  });
});

describe('a rollback', () => {
  it('of a subtransaction is told where it happened, and rows before and after are of other runs', () => {
    script.stretch(7, '7 1 acme', '8 2 acme', '8 3 bolt', '7 4 bolt');
    script.to.streamAbort(7, 8);
    script.stretch(7, '9 5 acme');
    script.commit(7, 50);
    expect(script.told).toEqual([
      'acme | part of a/7 piece 0 | run {"n":1,"x":7} | +items 1,acme,x | run {"n":2,"x":8} | +items 2,acme,x',
      'bolt | part of a/7 piece 0, last | run {"n":2,"x":8} | +items 3,bolt,x | run {"n":3,"x":7} | +items 4,bolt,x',
      '_heartbeat | rollback a/7/8',
      'acme | part of a/7 piece 1, last | run {"n":4,"x":9} | +items 5,acme,x',
      expect.stringContaining('together'),
      'acme | commit a/7 parts 2 behind 100, rollbacks',
      'bolt | commit a/7 parts 1 behind 100, rollbacks',
    ]);
  });

  it('of the whole is told, and nothing is kept of it', () => {
    script.stretch(7, '7 1 acme');
    script.stretch(9, '9 2 acme');
    script.to.streamAbort(7, 7);
    script.flush();
    expect(script.told.at(-1)).toBe('_heartbeat | rollback a/7/7');
    expect(script.to.streamedTransactions).toBe(1);
    expect(script.lane.waitingBytes).toBe(0);
  });

  it('of what has sent nothing is not told', () => {
    script.to.streamAbort(7, 7);
    script.to.streamStart(8);
    script.to.streamStop();
    script.to.streamAbort(8, 8);
    script.flush();
    expect(script.out).toEqual([]);
  });
});
