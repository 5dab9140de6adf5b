import { epoch, LSN_MAX, type Lsn } from '@drover/core';
import { describe, expect, it } from 'vitest';
import { EpochMap } from './epoch-map.ts';
import { ALL_PARTS, Marks } from './marks.ts';
import { hasUnchanged, mergeUnchanged } from './merge-tuple.ts';
import { checkIdentity, checkSameSystem, hasLostStream, resumeFrom } from './resume.ts';
import { tuple } from './source-script.testing.ts';
import { TenantCache } from './tenant-cache.ts';

const lsn = (n: number) => BigInt(n) as Lsn;
const SOURCE = {
  database: 'app',
  systemId: '7',
  recordedSystemId: '7',
  generation: 2,
  walEnd: lsn(1000),
  slotLsn: lsn(10),
  confirmedLsn: lsn(20),
};
const FOUND = {
  safeLsn: lsn(100),
  systemId: '7',
  generation: 2,
  perTenant: new Map([['acme', { lastLsn: lsn(150), part: 1, complete: false }]]),
};
const refused = expect.objectContaining({ code: 'pg.identity_changed' });

describe('whether to resume', () => {
  it('goes on from the marks of the same history', () => {
    expect(resumeFrom(FOUND, SOURCE).safeLsn).toBe(100n);
    expect(resumeFrom(null, SOURCE).safeLsn).toBe(0n);
  });

  it('drops no mark silently: another system and an older slot are refused', () => {
    const attempts = [
      () => checkIdentity({ ...SOURCE, systemId: '8' }),
      () => resumeFrom({ ...FOUND, systemId: '8' }, SOURCE),
      () => resumeFrom({ ...FOUND, generation: 3 }, SOURCE),
    ];
    for (const attempt of attempts) expect(attempt).toThrow(refused);
  });

  it('a connection that comes back leads to the system that was read, or is refused', () => {
    const before = { systemId: '7', generation: 2 };
    expect(() => checkSameSystem(before, { ...SOURCE, systemId: '8', recordedSystemId: '8' })).toThrow(
      refused,
    );
    checkSameSystem(before, SOURCE);
    checkSameSystem(null, SOURCE);
    checkSameSystem(before, { ...SOURCE, systemId: '8', generation: 3 }); // an operator has begun anew
  });

  it('an empty stream of a slot that has fed it has lost what it held', () => {
    expect(hasLostStream(SOURCE)).toBe(true);
    expect(hasLostStream({ ...SOURCE, confirmedLsn: lsn(10) })).toBe(false); // a new slot
    expect(hasLostStream({ ...SOURCE, slotLsn: null })).toBe(false);
  });

  it('starts anew under a newer generation, which an operator made', () => {
    const marks = resumeFrom({ ...FOUND, systemId: '8' }, { ...SOURCE, generation: 3 });
    expect(marks.partsSent('acme', lsn(1))).toBe(0);
  });
});

describe('marks', () => {
  it('say which parts the stream has', () => {
    const marks = new Marks(FOUND.safeLsn, FOUND.perTenant);
    expect(marks.partsSent('bolt', lsn(100))).toBe(ALL_PARTS);
    expect(marks.partsSent('bolt', lsn(101))).toBe(0);
    expect(marks.partsSent('acme', lsn(149))).toBe(ALL_PARTS);
    expect(marks.partsSent('acme', lsn(150))).toBe(2);
    expect(marks.partsSent('acme', lsn(151))).toBe(0);
  });

  it('keep the safe LSN until what was found is passed', () => {
    const marks = new Marks(FOUND.safeLsn, FOUND.perTenant);
    marks.advance(lsn(120));
    expect(marks.safeLsn).toBe(100n);
    marks.advance(lsn(150));
    expect(marks.safeLsn).toBe(150n);
    expect(marks.partsSent('acme', lsn(150))).toBe(ALL_PARTS);
  });
});

describe('epochs', () => {
  it('hold from the commit that opened them', () => {
    const map = new EpochMap();
    map.learn('acme', epoch(3), lsn(300));
    map.learn('acme', epoch(1), lsn(100));
    map.learn('acme', epoch(3), lsn(320)); // the same one, told again by its message
    expect(map.at('acme', lsn(99))).toEqual({ epoch: 0, until: 100n });
    expect(map.at('acme', lsn(100))).toEqual({ epoch: 1, until: 300n });
    expect(map.at('acme', lsn(300))).toEqual({ epoch: 3, until: LSN_MAX });
    expect(map.at('bolt', lsn(300))).toEqual({ epoch: 0, until: LSN_MAX });
  });
});

describe('the tenant cache', () => {
  it('finds what it keeps, and stays bounded', () => {
    const cache = new TenantCache<string>(3);
    let made = 0;
    const get = (text: string, kind = 'text') => {
      const bytes = Buffer.from(`xx${text}yy`);
      const end = bytes.length - 2;
      const found = cache.find(kind, bytes, 2, end);
      if (found !== undefined) return found;
      made++;
      cache.keep(kind, bytes, 2, end, `${kind}:${text}`);
      return cache.find(kind, bytes, 2, end);
    };
    expect([get('a'), get('a'), get('b'), get('a'), get('a', 'integer')]).toEqual([
      'text:a',
      'text:a',
      'text:b',
      'text:a',
      'integer:a',
    ]);
    expect(made).toBe(3);
    for (let i = 0; i < 50; i++) expect(get(`t${i}`)).toBe(`text:t${i}`);
    expect(cache.size).toBeLessThanOrEqual(3);
  });

  it('tells values of one hash apart', () => {
    const cache = new TenantCache<string>();
    // 'costarring' and 'liquid' collide under FNV-1a, 32 bit.
    const both = ['costarring', 'liquid'];
    for (const text of both) cache.keep('text', Buffer.from(text), 0, text.length, text);
    for (const text of [...both, ...both])
      expect(cache.find('text', Buffer.from(text), 0, text.length)).toBe(text);
    expect(cache.size).toBe(2);
  });
});

describe('merging an unchanged column', () => {
  it('takes it from the old row, empty and null values as they are', () => {
    const old = tuple('1', 'keep', '', null);
    const row = tuple('2', undefined, undefined, undefined);
    const both = Buffer.concat([old, row]);
    expect(hasUnchanged(both, old.length, both.length)).toBe(true);
    const merged = mergeUnchanged(both, 0, old.length, old.length, both.length);
    expect(merged).toEqual(tuple('2', 'keep', '', null));
    expect(hasUnchanged(merged, 0, merged.length)).toBe(false);
  });
});
