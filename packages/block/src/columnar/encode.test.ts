/** When columns are used at all, and what is remembered between blocks. */
import { zstdCompressSync } from 'node:zlib';
import type { Lsn } from '@drover/core';
import { describe, expect, it } from 'vitest';
import { BlockWriter } from '../block-writer.ts';
import type { Relation } from '../types.ts';
import { decodeColumnar } from './decode.ts';
import { encodeColumnar, encodeUnguarded } from './encode.ts';
import { Guard } from './guard.ts';
import { Plan } from './plan.ts';
import { PlanCache } from './plan-cache.ts';
import { stringCodecs } from './registry.ts';
import { makeBody, rawOf } from './test-bodies.ts';
import { slicesOf } from './testing.ts';
import { Oid } from './types.ts';

function relationOf(name: string, schema = 'public'): Relation {
  const column = { name: 'c', typmod: -1, key: true };
  const columns = [Oid.int8, Oid.text, Oid.bool].map((typeOid) => ({ ...column, typeOid }));
  return { oid: 7, schema, name, identity: 'd', columns };
}

/** Rows of an id, a text and a flag. */
function body(
  relation: Relation,
  rows: number,
  text: (row: number) => Buffer,
  flag: (row: number) => number = () => 1,
): Buffer {
  const writer = new BlockWriter();
  writer.begin(5n as Lsn, 8n, 9);
  for (let row = 0; row < rows; row++) {
    const id = Buffer.alloc(8);
    id.writeBigInt64BE(BigInt(row));
    const tuple: Buffer[] = [Buffer.from([0, 3])];
    for (const value of [id, text(row), Buffer.from([flag(row)])]) {
      const head = Buffer.from([0x62, 0, 0, 0, 0]);
      head.writeUInt32BE(value.length, 1);
      tuple.push(head, value);
    }
    const bytes = Buffer.concat(tuple);
    writer.insert(writer.relation(relation), bytes, 0, bytes.length);
  }
  return rawOf(writer);
}

const label = (row: number): Buffer => Buffer.from(`label ${row % 7}`);

describe('columns', () => {
  it('are smaller than plain compression, and come back', () => {
    const raw = body(relationOf('t'), 500, label);
    const stored = encodeColumnar(raw, new PlanCache());
    expect(stored!.length * 5).toBeLessThan(zstdCompressSync(raw).length);
    expect(decodeColumnar(stored!, raw.length).equals(raw)).toBe(true);
  });

  it('are never larger than plain compression of a small block, and declined where that wins', () => {
    const outcomes = { columns: 0, rows: 0 };
    const plans = new PlanCache();
    for (let seed = 0; seed < 150; seed++) {
      const raw = makeBody({ seed, rows: 1 + (seed % 12), tables: 1 + (seed % 3), columns: 1 + (seed % 9) });
      const stored = encodeColumnar(raw, plans);
      if (stored !== null) expect(stored.length).toBeLessThan(zstdCompressSync(raw).length);
      outcomes[stored === null ? 'rows' : 'columns']++;
    }
    expect(Math.min(outcomes.columns, outcomes.rows)).toBeGreaterThan(10);
    expect(plans.lastFault).toBeNull();
  });

  it('with a fault in a codec are not sent: the block travels as rows, and so do the next ones', () => {
    const raw = body(relationOf('t'), 100, label);
    const faulty = { id: 200, name: 'faulty', encode: () => true, decode: () => slicesOf([]) };
    stringCodecs.push(faulty);
    try {
      const plans = new PlanCache();
      expect(encodeColumnar(raw, plans)).toBeNull();
      expect(plans.faults).toBe(1);
      expect(String(plans.lastFault)).toContain('damaged');
      expect(encodeColumnar(raw, plans)).toBeNull();
      expect(plans.faults).toBe(1);
    } finally {
      stringCodecs.pop();
    }
  });

  it.each([0, 1, 2, 511])('are declined for %i bytes', (bytes) => {
    expect(encodeColumnar(Buffer.alloc(bytes), new PlanCache())).toBeNull();
  });

  it('are declined for bytes no writer makes', () => {
    const raw = body(relationOf('t'), 100, label);
    expect(encodeUnguarded(raw.subarray(0, -1), new PlanCache())).toBeNull();
    expect(encodeUnguarded(Buffer.concat([raw, Buffer.from([99])]), new PlanCache())).toBeNull();
    const wrongCount = Buffer.from(raw);
    const tuple = wrongCount.indexOf(Buffer.from([0, 3, 0x62]));
    wrongCount[tuple + 1] = 2;
    expect(encodeUnguarded(wrongCount, new PlanCache())).toBeNull();
  });

  it('degrade when a constant flips under a plan that never saw it', () => {
    const plans = new PlanCache();
    encodeColumnar(body(relationOf('t'), 1000, label), plans);
    const flipped = body(relationOf('t'), 1000, label, (row) => (row % 50 === 7 ? 0 : 1));
    const stored = encodeColumnar(flipped, plans);
    const fresh = encodeColumnar(flipped, new PlanCache());
    expect(stored!.length).toBeLessThan(fresh!.length * 1.2);
  });

  it('share a plan between the same tables of several schemas', () => {
    const plans = new PlanCache();
    encodeColumnar(body(relationOf('t', 'tenant_a'), 100, label), plans);
    encodeColumnar(body(relationOf('t', 'tenant_b'), 100, label), plans);
    expect(plans.size).toBe(1);
    encodeColumnar(body(relationOf('u', 'tenant_b'), 100, label), plans);
    expect(plans.size).toBe(2);
    expect(plans.faults).toBe(0);
  });
});

describe('plans', () => {
  it('of tables not used for long are forgotten', () => {
    const plans = new PlanCache(300);
    for (let table = 0; table < 50; table++) encodeColumnar(body(relationOf(`t${table}`), 100, label), plans);
    expect(plans.size).toBeGreaterThan(0);
    expect(plans.size).toBeLessThan(30);
  });

  it('are made anew after drift, and ever less often when that does not help', () => {
    const plan = new Plan();
    const made: number[] = [];
    for (let block = 0; block < 4000; block++) {
      if (plan.due) {
        made.push(block);
        plan.settle(1, 1000, 1000);
      }
      plan.observe(3000, 1000);
    }
    const gaps = made.slice(1).map((block, i) => block - made[i]!);
    expect(gaps[0]).toBe(32);
    expect(gaps[3]).toBeGreaterThan(200);
  });

  it('stay while a column takes what it took', () => {
    const plan = new Plan();
    plan.settle(1, 1000, 1000);
    for (let block = 0; block < 900; block++) plan.observe(1050, 1000);
    expect(plan.due).toBe(false);
  });
});

describe('the guard', () => {
  const raw = Buffer.from('abc'.repeat(500));
  const plain = zstdCompressSync(raw).length;

  it('compares small blocks always, large ones rarely while columns are far ahead', () => {
    const guard = new Guard();
    expect(guard.worth(raw, 10, 1)).toBe(true);
    expect(guard.worth(raw, plain, 1)).toBe(false);
    const large = Buffer.from(Array.from({ length: 30_000 }, (_, i) => (i * i * i) >> 7));
    const blank = Buffer.alloc(30_000);
    expect(guard.worth(large, 100, 1)).toBe(true);
    // Plain compression would win here, but nobody looked: so much smaller than it was is trusted.
    expect(guard.worth(blank, 100, 1)).toBe(true);
    expect(guard.worth(blank, 29_000, 1)).toBe(false);
  });

  it('rests after three losses, longer each time, and recovers', () => {
    const guard = new Guard();
    const rests: number[] = [];
    for (let round = 0; round < 5; round++) {
      while (!guard.skip()) guard.worth(raw, raw.length, 1);
      let rest = 1;
      while (guard.skip()) rest++;
      rests.push(rest);
      guard.worth(raw, raw.length, 1);
    }
    expect(rests[0]).toBe(16);
    expect(rests[3]).toBeGreaterThan(rests[1]!);
    while (guard.skip());
    expect(guard.worth(raw, 1, 1)).toBe(true);
  });
});
