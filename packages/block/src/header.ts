/**
 * The header of a block: written after the body is known, read before anything of the body is believed.
 * {@link readHeader} checks magic, version, lengths and checksum in that order; what passes is what was written.
 */
import { crc32 } from 'node:zlib';
import { assert, type ClusterId, DroverError, type Epoch, type Lsn, type TenantId } from '@drover/core';
import {
  CRC_END,
  CRC_OFFSET,
  FIXED_HEADER_BYTES,
  FLAG_COLUMNS,
  FLAG_COMPLETE,
  FLAG_ZSTD,
  KNOWN_FLAGS,
  MAGIC,
  VERSION,
} from './format.ts';
import type { BlockHeader } from './types.ts';

/** How the body is stored. */
export type Encoding = 'rows' | 'zstd' | 'columns';

const FLAG_OF = { rows: 0, zstd: FLAG_ZSTD, columns: FLAG_COLUMNS } as const;

/** The header with what only the codec itself needs. */
export interface Envelope {
  readonly header: BlockHeader;
  readonly encoding: Encoding;
  readonly rawBytes: number;
  readonly bodyStart: number;
}

export function corrupt(why: string, facts: Record<string, unknown> = {}): DroverError {
  return new DroverError('block.corrupt', `a block is damaged: ${why}`, { facts });
}

/** One block in one buffer: header, then `body` as stored. `rawBytes` is the body's length before compression. */
export function sealBlock(header: BlockHeader, body: Buffer, rawBytes: number, encoding: Encoding): Buffer {
  const strings = [header.source, header.database, header.tenant, header.systemId].map((s) => Buffer.from(s));
  const headerBytes = strings.reduce((sum, s) => sum + 1 + s.length, FIXED_HEADER_BYTES);
  const block = Buffer.allocUnsafe(headerBytes + body.length);
  block.writeUInt32BE(MAGIC, 0);
  block[4] = VERSION;
  block[5] = FLAG_OF[encoding] | (header.complete ? FLAG_COMPLETE : 0);
  block.writeUInt16BE(headerBytes, 6);
  block.writeUInt32BE(rawBytes, 12);
  block.writeUInt32BE(body.length, 16);
  block.writeBigUInt64BE(header.firstLsn, 20);
  block.writeBigUInt64BE(header.lastLsn, 28);
  block.writeBigUInt64BE(BigInt(header.epoch), 36);
  block.writeBigInt64BE(header.commitTimeUs, 44);
  block.writeUInt32BE(header.generation, 52);
  block.writeUInt32BE(header.part, 56);
  block.writeUInt32BE(header.transactions, 60);
  block.writeUInt32BE(header.changes, 64);
  let at = FIXED_HEADER_BYTES;
  for (const s of strings) {
    assert(s.length <= 255, 'a header string is longer than 255 bytes', { bytes: s.length });
    block[at] = s.length;
    s.copy(block, at + 1);
    at += 1 + s.length;
  }
  body.copy(block, at);
  block.writeUInt32BE(checksum(block), CRC_OFFSET);
  return block;
}

function checksum(block: Buffer): number {
  return crc32(block.subarray(CRC_END), crc32(block.subarray(0, CRC_OFFSET)));
}

/** @throws DroverError `block.corrupt`, `block.version` */
export function openEnvelope(block: Buffer): Envelope {
  if (block.length < CRC_END || block.readUInt32BE(0) !== MAGIC) throw corrupt('it does not start like one');
  const version = block.readUInt8(4);
  if (version > VERSION) {
    throw new DroverError('block.version', `a block has version ${version}, this reader knows ${VERSION}`, {
      facts: { version, known: VERSION },
    });
  }
  if (version !== VERSION) throw corrupt('it names a version that never was', { version });
  if (block.length < FIXED_HEADER_BYTES) throw corrupt('its header is cut', { bytes: block.length });
  const expected = block.readUInt32BE(CRC_OFFSET);
  const actual = checksum(block);
  if (expected !== actual) throw corrupt('its checksum differs', { expected, actual, bytes: block.length });
  const flags = block.readUInt8(5);
  if ((flags & ~KNOWN_FLAGS) !== 0) {
    throw new DroverError('block.version', `a block carries flags this reader does not know: ${flags}`, {
      facts: { flags },
    });
  }
  const headerBytes = block.readUInt16BE(6);
  const bodyBytes = block.readUInt32BE(16);
  if (headerBytes < FIXED_HEADER_BYTES + 4 || headerBytes + bodyBytes !== block.length) {
    throw corrupt('its lengths do not add up', { headerBytes, bodyBytes, bytes: block.length });
  }
  const rawBytes = block.readUInt32BE(12);
  const encoding = encodingOf(flags);
  if (encoding === 'rows' && rawBytes !== bodyBytes)
    throw corrupt('its body has two lengths', { rawBytes, bodyBytes });
  return { header: readFields(block, headerBytes, flags), encoding, rawBytes, bodyStart: headerBytes };
}

function encodingOf(flags: number): Encoding {
  if ((flags & FLAG_ZSTD) !== 0 && (flags & FLAG_COLUMNS) !== 0)
    throw corrupt('its body is encoded in two ways');
  if ((flags & FLAG_COLUMNS) !== 0) return 'columns';
  return (flags & FLAG_ZSTD) === 0 ? 'rows' : 'zstd';
}

function readFields(block: Buffer, headerBytes: number, flags: number): BlockHeader {
  let at = FIXED_HEADER_BYTES;
  const text = (): string => {
    const length = at < headerBytes ? block.readUInt8(at) : headerBytes;
    const start = at + 1;
    at = start + length;
    if (at > headerBytes) throw corrupt('a header string is cut');
    return block.toString('utf8', start, at);
  };
  const epochNumber = Number(block.readBigUInt64BE(36));
  if (!Number.isSafeInteger(epochNumber)) throw corrupt('its epoch is out of range');
  // The casts are the codec's: the checksum says these are the bytes a writer took from branded values.
  const header: BlockHeader = {
    source: text() as ClusterId,
    database: text(),
    tenant: text() as TenantId,
    systemId: text(),
    epoch: epochNumber as Epoch,
    generation: block.readUInt32BE(52),
    firstLsn: block.readBigUInt64BE(20) as Lsn,
    lastLsn: block.readBigUInt64BE(28) as Lsn,
    part: block.readUInt32BE(56),
    complete: (flags & FLAG_COMPLETE) !== 0,
    commitTimeUs: block.readBigInt64BE(44),
    transactions: block.readUInt32BE(60),
    changes: block.readUInt32BE(64),
  };
  if (at !== headerBytes) throw corrupt('its header has bytes to spare');
  return header;
}

/** Reads and checks the header; the checksum covers the body too. @throws DroverError `block.corrupt`, `block.version` */
export function readHeader(block: Buffer): BlockHeader {
  return openEnvelope(block).header;
}
