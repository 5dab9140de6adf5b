/** Keys in memory, and blocks with a body of a given size, for the tests of sealing. */
import { createSecretKey, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { clusterId, epoch, type Lsn, type TenantId, tenantId } from '@drover/core';
import { CRC_END, CRC_OFFSET } from '../format.ts';
import {
  type BlockVisitor,
  BlockWriter,
  type Compression,
  Packer,
  type Relation,
  walkBlock,
} from '../index.ts';
import type { DataKey, OpeningKeys, SealingKeys } from './data-key.ts';
import { Opener } from './opener.ts';
import { Sealer } from './sealer.ts';

export const ACME = tenantId('acme');

export const META = {
  source: clusterId('east'),
  database: 'app',
  tenant: ACME,
  epoch: epoch(3),
  systemId: '7300000000000000001',
  generation: 2,
  firstLsn: 100n as Lsn,
  lastLsn: 200n as Lsn,
  part: 0,
  complete: true,
  commitTimeUs: 5n,
};

export function dataKey(id: number): DataKey {
  return { id, secret: createSecretKey(randomBytes(32)) };
}

/** The newest key of a tenant seals, all of them open. */
export class Keys implements SealingKeys, OpeningKeys {
  readonly of = new Map<TenantId, DataKey[]>();

  add(tenant: TenantId, key = dataKey((this.of.get(tenant)?.length ?? 0) + 1)): this {
    this.of.set(tenant, [...(this.of.get(tenant) ?? []), key]);
    return this;
  }

  current(tenant: TenantId): DataKey | null {
    return this.of.get(tenant)?.at(-1) ?? null;
  }

  find(tenant: TenantId, id: number): DataKey | null {
    return this.of.get(tenant)?.find((key) => key.id === id) ?? null;
  }
}

export const THINGS: Relation = {
  oid: 1,
  schema: 'public',
  name: 'things',
  identity: 'd',
  columns: [{ name: 'a', typeOid: 25, typmod: -1, key: true }],
};

/** One insert whose tuple is `content`. */
export function blockOf(content: Buffer, packer: Packer, meta: Partial<typeof META> = {}): Buffer {
  const writer = new BlockWriter();
  writer.begin(200n as Lsn, 5n, 1);
  writer.insert(writer.relation(THINGS), content, 0, content.length);
  return writer.finish({ ...META, ...meta }, packer);
}

export function sealing(keys: SealingKeys, compression: Compression = 'none'): Packer {
  return new Packer(compression, new Sealer(keys));
}

/** The tuples of the inserts. */
export function open(block: Buffer, keys: OpeningKeys): Buffer[] {
  const found: Buffer[] = [];
  const visitor = {
    relation() {},
    begin() {},
    insert: (_: number, bytes: Buffer, start: number, end: number) => {
      found.push(Buffer.from(bytes.subarray(start, end)));
    },
  } as unknown as BlockVisitor; // the blocks of these tests hold nothing else
  walkBlock(block, visitor, { opener: new Opener(keys) });
  return found;
}

/** With a checksum that fits, as anybody can make one. */
export function withChecksum(block: Buffer): Buffer {
  const crc = crc32(block.subarray(CRC_END), crc32(block.subarray(0, CRC_OFFSET)));
  block.writeUInt32BE(crc, CRC_OFFSET);
  return block;
}
