/** Golden bytes and the refusals, one by one. */
import { crc32 } from 'node:zlib';
import { clusterId, epoch, type Lsn, tenantId } from '@drover/core';
import { describe, expect, it } from 'vitest';
import { type BlockVisitor, BlockWriter, type Relation, readHeader, walkBlock } from './index.ts';

const ORDERS: Relation = {
  oid: 16_400,
  schema: 'public',
  name: 'orders',
  identity: 'd',
  columns: [{ name: 'id', typeOid: 20, typmod: -1, key: true }],
};

const META = {
  source: clusterId('east'),
  database: 'app',
  tenant: tenantId('acme'),
  epoch: epoch(3),
  systemId: '7300000000000000001',
  generation: 2,
  firstLsn: 0x10n as Lsn,
  lastLsn: 0x20n as Lsn,
  part: 0,
  complete: true,
  commitTimeUs: -5n,
};

const SILENT: BlockVisitor = {
  relation() {},
  begin() {},
  insert() {},
  update() {},
  delete() {},
  truncate() {},
  message() {},
};

function small(): Buffer {
  const writer = new BlockWriter();
  writer.begin(0x20n as Lsn, -5n, 77);
  const tuple = Buffer.from('000162000000080000000000000001', 'hex');
  writer.insert(writer.relation(ORDERS), tuple, 0, tuple.length);
  return writer.finish(META);
}

function resealed(block: Buffer): Buffer {
  block.writeUInt32BE(crc32(block.subarray(12), crc32(block.subarray(0, 8))), 8);
  return block;
}

const code = (fn: () => unknown): unknown => {
  try {
    fn();
  } catch (error) {
    return (error as { code?: unknown }).code ?? error;
  }
  return 'nothing thrown';
};

describe('a block', () => {
  it('has these bytes, in version 1, for ever', () => {
    expect(small().toString('hex')).toBe(
      [
        '44525642', // DRVB
        '0102', // version 1, complete
        '0066', // header bytes
        '18ad2020', // checksum
        '0000005000000050', // raw, stored
        '0000000000000010',
        '0000000000000020',
        '0000000000000003', // epoch
        'fffffffffffffffb', // commit time
        '00000002', // generation
        '00000000', // part
        '00000001', // transactions
        '00000001', // changes
        '0465617374',
        '03617070',
        '0461636d65',
        '1337333030303030303030303030303030303031',
        // begin
        '020000000000000020fffffffffffffffb0000004d',
        // relation
        '01000040106400067075626c696300066f7264657273000101',
        '00000014ffffffff00026964',
        // insert
        '0300000000000f000162000000080000000000000001',
      ].join(''),
    );
  });

  it('reads its own header', () => {
    expect(readHeader(small())).toEqual({ ...META, transactions: 1, changes: 1 });
  });

  it('of a newer version is refused as such, whatever follows', () => {
    const block = small();
    block[4] = 2;
    expect(code(() => readHeader(block))).toBe('block.version');
  });

  it('with flags of the future is refused as such', () => {
    const block = small();
    block[5] = 0x82;
    expect(code(() => readHeader(resealed(block)))).toBe('block.version');
  });

  it('is refused when cut at any byte', () => {
    const block = small();
    for (let n = 0; n < block.length; n++) {
      expect(code(() => walkBlock(block.subarray(0, n), SILENT))).toBe('block.corrupt');
    }
  });

  it('is refused with any one bit flipped', () => {
    const block = small();
    for (let bit = 0; bit < block.length * 8; bit++) {
      const at = bit >> 3;
      block[at]! ^= 1 << (bit & 7);
      expect(code(() => walkBlock(block, SILENT))).toMatch(/^block\.(corrupt|version)$/);
      block[at]! ^= 1 << (bit & 7);
    }
    expect(code(() => walkBlock(block, SILENT))).toBe('nothing thrown');
  });

  it('that declares more than the cap is refused before it is unpacked', () => {
    const writer = new BlockWriter();
    const tuple = Buffer.alloc(1 << 20);
    writer.begin(1n as Lsn, 0n, 1);
    writer.insert(writer.relation(ORDERS), tuple, 0, tuple.length);
    const block = writer.finish(META);
    expect(block.length).toBeLessThan(4096);
    expect(code(() => walkBlock(block, SILENT))).toBe('nothing thrown');
    expect(code(() => walkBlock(block, SILENT, { rawBytesMax: 1 << 20 }))).toBe('block.corrupt');
    block.writeUInt32BE(1 << 19, 12); // unpacks to more than it declares
    expect(code(() => walkBlock(resealed(block), SILENT))).toBe('block.corrupt');
    block.writeUInt32BE(1 << 21, 12); // to less
    expect(code(() => walkBlock(resealed(block), SILENT))).toBe('block.corrupt');
  });

  it('passes on what its visitor throws', () => {
    const failure = new Error('mine');
    const visitor = {
      ...SILENT,
      insert() {
        throw failure;
      },
    };
    expect(code(() => walkBlock(small(), visitor))).toBe(failure);
  });

  it('can be written again with the same writer', () => {
    const writer = new BlockWriter(16);
    const tuple = Buffer.alloc(100_000, 7);
    for (let i = 0; i < 3; i++) {
      writer.begin(0x20n as Lsn, -5n, 77);
      const index = writer.relation(ORDERS);
      expect(index).toBe(0);
      writer.delete(index, 'K', tuple, 0, tuple.length);
      expect(readHeader(writer.finish(META)).changes).toBe(1);
      writer.reset(1024);
      expect(writer.size).toBe(0);
      expect(writer.capacity).toBeLessThanOrEqual(4096);
    }
  });

  it('can be cut in front of the last transaction', () => {
    const other: Relation = { ...ORDERS, oid: 5, name: 'other' };
    const writer = new BlockWriter();
    const tuple = Buffer.from('abcd');
    writer.begin(1n as Lsn, 0n, 1);
    writer.insert(writer.relation(ORDERS), tuple, 0, 1);
    writer.begin(2n as Lsn, 0n, 2);
    expect(writer.hasEarlier).toBe(true);
    writer.insert(writer.relation(other), tuple, 1, 2);
    writer.insert(writer.relation(ORDERS), tuple, 2, 3);
    const earlier = writer.finishEarlier(META);
    expect(writer.hasEarlier).toBe(false);
    writer.insert(writer.relation(other), tuple, 3, 4);
    expect(told(earlier)).toEqual(['begin 1', 'orders a']);
    expect(told(writer.finish(META))).toEqual(['begin 2', 'other b', 'orders c', 'other d']);
  });
});

function told(block: Buffer): string[] {
  const names: string[] = [];
  const lines: string[] = [];
  walkBlock(block, {
    ...SILENT,
    relation: (index, relation) => {
      names[index] = relation.name;
    },
    begin: (lsn) => lines.push(`begin ${lsn}`),
    insert: (relation, bytes, start, end) =>
      lines.push(`${names[relation]} ${bytes.toString('latin1', start, end)}`),
  });
  return lines;
}
