/** What is written is what is read; what was not written is refused, never a crash. */
import { crc32 } from 'node:zlib';
import { clusterId, DroverError, epoch, type Lsn, tenantId } from '@drover/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BlockVisitor, BlockWriter, type Relation, walkBlock } from './index.ts';

const META = {
  source: clusterId('east'),
  database: 'app',
  tenant: tenantId('ümläut/ten ant'),
  epoch: epoch(1),
  systemId: '1',
  generation: 1,
  firstLsn: 1n as Lsn,
  lastLsn: 0xffff_ffff_ffff_ffffn as Lsn,
  part: 4,
  complete: false,
  commitTimeUs: 9n,
};

const relation: fc.Arbitrary<Relation> = fc.record({
  oid: fc.nat(),
  schema: fc.string({ unit: 'grapheme', maxLength: 20 }),
  name: fc.string({ unit: 'grapheme', maxLength: 20 }),
  identity: fc.constantFrom('d', 'n', 'f', 'i'),
  columns: fc.array(
    fc.record({
      name: fc.string({ unit: 'grapheme', maxLength: 8 }),
      typeOid: fc.nat(),
      typmod: fc.integer(),
      key: fc.boolean(),
    }),
    { maxLength: 5 },
  ),
});
const tuple = fc.uint8Array({ maxLength: 300 }).map((b) => Buffer.from(b).toString('hex'));
const which = fc.nat({ max: 2 });
const lsn = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const record = fc.oneof(
  fc.tuple(
    fc.constant('begin' as const),
    lsn,
    fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }),
    fc.nat(),
  ),
  fc.tuple(fc.constant('insert' as const), which, tuple),
  fc.tuple(fc.constant('update' as const), which, fc.constantFrom('K', 'O', null), tuple, tuple),
  fc.tuple(fc.constant('delete' as const), which, fc.constantFrom('K' as const, 'O' as const), tuple),
  fc.tuple(fc.constant('truncate' as const), fc.array(which, { maxLength: 4 }), fc.nat({ max: 3 })),
  fc.tuple(fc.constant('message' as const), lsn, fc.string({ maxLength: 30 }), tuple),
);
type Record = typeof record extends fc.Arbitrary<infer T> ? T : never;

function write(writer: BlockWriter, relations: readonly Relation[], records: readonly Record[]): Buffer {
  const index = (i: number) => writer.relation(relations[i]!);
  for (const r of records) {
    if (r[0] === 'begin') writer.begin(r[1] as Lsn, r[2], r[3]);
    else if (r[0] === 'message') writer.message(r[1] as Lsn, r[2], Buffer.from(r[3], 'hex'));
    else if (r[0] === 'truncate') writer.truncate(r[1].map(index), r[2]);
    else if (r[0] === 'update') {
      const old = Buffer.from(r[2] === null ? '' : r[3], 'hex');
      const now = Buffer.from(r[4], 'hex');
      const both = Buffer.concat([Buffer.alloc(3), old, now]);
      writer.update(index(r[1]), r[2], both, 3, 3 + old.length, 3 + old.length, both.length);
    } else {
      const bytes = Buffer.from(`00${r[0] === 'insert' ? r[2] : r[3]}00`, 'hex');
      if (r[0] === 'insert') writer.insert(index(r[1]), bytes, 1, bytes.length - 1);
      else writer.delete(index(r[1]), r[2], bytes, 1, bytes.length - 1);
    }
  }
  return writer.finish(META);
}

function read(block: Buffer): { relations: Relation[]; records: unknown[] } {
  const relations: Relation[] = [];
  const records: unknown[] = [];
  const visitor: BlockVisitor = {
    relation: (index, r) => {
      expect(index).toBe(relations.length);
      relations.push(r);
    },
    begin: (...args) => records.push(['begin', ...args]),
    insert: (r, bytes, start, end) =>
      records.push(['insert', relations[r], bytes.toString('hex', start, end)]),
    update: (r, kind, bytes, os, oe, ns, ne) =>
      records.push([
        'update',
        relations[r],
        kind,
        bytes.toString('hex', os, oe),
        bytes.toString('hex', ns, ne),
      ]),
    delete: (r, kind, bytes, start, end) =>
      records.push(['delete', relations[r], kind, bytes.toString('hex', start, end)]),
    truncate: (rs, flags) => records.push(['truncate', rs.map((r) => relations[r]), flags]),
    message: (at, prefix, content) => records.push(['message', at, prefix, content.toString('hex')]),
  };
  walkBlock(block, visitor);
  return { relations, records };
}

function expected(relations: readonly Relation[], records: readonly Record[]): unknown[] {
  return records.map((r) => {
    if (r[0] === 'begin' || r[0] === 'message') return [...r];
    if (r[0] === 'truncate') return [r[0], r[1].map((i) => relations[i]), r[2]];
    if (r[0] === 'update') return [r[0], relations[r[1]], r[2], r[2] === null ? '' : r[3], r[4]];
    return [r[0], relations[r[1]], ...r.slice(2)];
  });
}

const relations3 = fc.tuple(relation, relation, relation);

describe('blocks', () => {
  it('round-trip, with one writer reused', () => {
    const writer = new BlockWriter(8);
    fc.assert(
      fc.property(relations3, fc.array(record, { maxLength: 40 }), (relations, records) => {
        writer.reset();
        expect(read(write(writer, relations, records)).records).toEqual(expected(relations, records));
      }),
      { numRuns: 300 },
    );
  });

  it('refuse any bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => refused(Buffer.from(bytes))));
  });

  it('with a valid checksum over damaged bytes are read or refused', () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(relations3, fc.array(record, { maxLength: 12 }), damage, (relations, records, hits) => {
        const block = write(new BlockWriter(), relations, records);
        for (const [at, value] of hits) block[at % block.length] = value;
        block.writeUInt32BE(crc32(block.subarray(12), crc32(block.subarray(0, 8))), 8);
        readOrRefused(block);
      }),
      { numRuns: 2000 },
    );
  });
});

function refused(block: Buffer): void {
  expect(() => read(block)).toThrow(DroverError);
}

function readOrRefused(block: Buffer): void {
  try {
    read(block);
  } catch (error) {
    if (!(error instanceof DroverError)) throw error;
    expect(error.code).toMatch(/^block\./);
  }
}
