import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { clusterId, epoch, type Lsn, tenantId } from '@drover/core';
import { describe, expect, it } from 'vitest';
import { BlockWriter } from './block-writer.ts';
import { CRC_END, CRC_OFFSET, FLAG_COLUMNS, FLAG_COMPLETE, FLAG_SNAPPY, FLAG_ZSTD } from './format.ts';
import { assembleBlock, openEnvelope } from './header.ts';
import { COMPRESSIONS, type Compression, Packer } from './packing.ts';
import type { BlockVisitor, Relation } from './types.ts';
import { walkBlock } from './walk-block.ts';

const TABLE: Relation = {
  oid: 1,
  schema: 's',
  name: 't',
  identity: 'd',
  columns: [
    { name: 'id', typeOid: 20, typmod: -1, key: true },
    { name: 'status', typeOid: 25, typmod: -1, key: false },
  ],
};
const META = {
  source: clusterId('a'),
  database: 'd',
  tenant: tenantId('t'),
  epoch: epoch(1),
  systemId: '1',
  generation: 1,
  firstLsn: 1n as Lsn,
  lastLsn: 1n as Lsn,
  part: 0,
  complete: true,
  commitTimeUs: 0n,
};

function tuple(id: number): Buffer {
  const status = ['new', 'paid', 'sent'][id % 3] ?? '';
  const out = Buffer.alloc(2 + 5 + 8 + 5 + status.length);
  out.writeUInt16BE(2);
  out[2] = 0x62;
  out.writeInt32BE(8, 3);
  out.writeBigInt64BE(BigInt(id), 7);
  out[15] = 0x62;
  out.writeInt32BE(status.length, 16);
  out.write(status, 20);
  return out;
}

function written(rows: number): BlockWriter {
  const writer = new BlockWriter();
  writer.begin(1n as Lsn, 5n, 7);
  for (let id = 0; id < rows; id++) {
    const bytes = tuple(id);
    writer.insert(writer.relation(TABLE), bytes, 0, bytes.length);
  }
  return writer;
}

/** What the visitor was told, as text. */
function told(block: Buffer): string[] {
  const seen: string[] = [];
  const visitor: BlockVisitor = {
    relation: (index, relation) => void seen.push(`${index} ${relation.name}`),
    begin: (lsn, time, xid) => void seen.push(`${lsn} ${time} ${xid}`),
    insert: (relation, bytes, start, end) =>
      void seen.push(`${relation} ${bytes.toString('hex', start, end)}`),
    update: () => void seen.push('update'),
    delete: () => void seen.push('delete'),
    truncate: () => void seen.push('truncate'),
    message: () => void seen.push('message'),
  };
  walkBlock(block, visitor);
  return seen;
}

describe('a block', () => {
  it.each(
    COMPRESSIONS.flatMap((compression) => [0, 1, 40, 3000].map((rows) => [compression, rows] as const)),
  )('stored as %s with %i rows is the same block', (compression: Compression, rows: number) => {
    const plain = written(rows).finish(META, new Packer('none'));
    expect(openEnvelope(plain).encoding).toBe('rows');
    const packer = new Packer(compression);
    // The second is stored by a plan.
    for (let i = 0; i < 2; i++) expect(told(written(rows).finish(META, packer))).toEqual(told(plain));
  });

  it('of some size is stored as columns, unless time is short', () => {
    const packer = new Packer('auto');
    const encoding = (rows: number) => openEnvelope(written(rows).finish(META, packer)).encoding;
    expect(encoding(3000)).toBe('columns');
    expect(encoding(100)).toBe('zstd');
    packer.hurried = true;
    expect(encoding(3000)).toBe('zstd');
    packer.hurried = false;
    expect(encoding(3000)).toBe('columns');
  });

  it('takes fewer bytes as columns', () => {
    const bytes = (compression: Compression) => written(3000).finish(META, new Packer(compression)).length;
    expect(bytes('columns')).toBeLessThan(bytes('zstd') / 4);
  });

  it('that snappy does not shrink is stored as it is', () => {
    const packer = new Packer('snappy');
    expect(packer.pack(Buffer.alloc(4000, 'order'))).toMatchObject({ encoding: 'snappy' });
    expect(packer.pack(randomBytes(4000)).encoding).toBe('rows');
    expect(packer.pack(Buffer.alloc(100)).encoding).toBe('rows');
  });

  it('of snappy carries a flag of its own, which excludes the others', () => {
    const block = written(300).finish(META, new Packer('snappy'));
    expect(openEnvelope(block).encoding).toBe('snappy');
    expect(block[5]).toBe(FLAG_SNAPPY | FLAG_COMPLETE);
    for (const flag of [FLAG_ZSTD, FLAG_COLUMNS]) {
      const both = Buffer.from(block);
      both[5] = FLAG_SNAPPY | flag;
      both.writeUInt32BE(crc32(both.subarray(CRC_END), crc32(both.subarray(0, CRC_OFFSET))), CRC_OFFSET);
      expect(() => told(both)).toThrow(expect.objectContaining({ code: 'block.corrupt' }));
    }
  });

  it('of snappy is as long as its header says, or refused', () => {
    const block = written(300).finish(META, new Packer('snappy'));
    for (const rawBytes of [0, 600, 64 * 1024 * 1024]) {
      const other = Buffer.from(block);
      other.writeUInt32BE(rawBytes, 12);
      other.writeUInt32BE(crc32(other.subarray(CRC_END), crc32(other.subarray(0, CRC_OFFSET))), CRC_OFFSET);
      expect(() => told(other)).toThrow(expect.objectContaining({ code: 'block.corrupt' }));
    }
  });

  it('whose columns are none is refused', () => {
    const header = { ...META, transactions: 0, changes: 0 };
    const block = assembleBlock(header, { body: Buffer.from([1]), encoding: 'columns' }, 600);
    expect(() => told(block)).toThrow(expect.objectContaining({ code: 'block.corrupt' }));
  });
});
