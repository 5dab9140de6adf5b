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
  FLAG_PROFILE,
  FLAG_SEALED,
  FLAG_SNAPPY,
  FLAG_STREAMED,
  FLAG_ZSTD,
  KNOWN_FLAGS,
  MAGIC,
  VERSION,
} from './format.ts';
import { NAME_BYTES, type ProfileName, packName, unpackName } from './named-profile.ts';
import { encryptInto } from './seal/cipher.ts';
import { keyOfMark, MARK_BYTES, type SealMark, TAG_BYTES, unpackMark } from './seal/mark.ts';
import type { Seal } from './seal/sealer.ts';
import { packStreamed, unpackStreamed } from './streamed-header.ts';
import type { BlockHeader } from './types.ts';

/** How the body is stored. */
export type Encoding = 'rows' | 'zstd' | 'columns' | 'snappy' | 'profile';

/** A body as it is stored; `profile`: the one it is encoded by. */
export interface StoredBody {
  readonly body: Buffer;
  readonly encoding: Encoding;
  readonly profile?: ProfileName;
}

const FLAG_OF = {
  rows: 0,
  zstd: FLAG_ZSTD,
  columns: FLAG_COLUMNS,
  snappy: FLAG_SNAPPY,
  profile: FLAG_PROFILE,
} as const;

/** The header with what only the codec itself needs. */
export interface Envelope {
  readonly header: BlockHeader;
  readonly encoding: Encoding;
  readonly rawBytes: number;
  readonly bodyStart: number;
  /** How it is sealed; null: it is not. */
  readonly mark: SealMark | null;
  /** Which profile its body needs; null: none. */
  readonly profile: ProfileName | null;
}

export function corrupt(why: string, facts: Record<string, unknown> = {}): DroverError {
  return new DroverError('block.corrupt', `a block is damaged: ${why}`, { facts });
}

/** One block in one buffer: header, then `body` as stored, sealed with `seal`. `rawBytes` is the body's length before compression. */
export function assembleBlock(
  header: BlockHeader,
  { body, encoding, profile }: StoredBody,
  rawBytes: number,
  seal: Seal | null = null,
): Buffer {
  const strings = [header.source, header.database, header.tenant, header.systemId].map((s) => Buffer.from(s));
  assert((encoding === 'profile') === (profile !== undefined), 'a body by a profile names it');
  assert(profile === undefined || header.streamed === undefined, 'profiles are for what has committed');
  const extra =
    header.streamed !== undefined
      ? packStreamed(header.streamed)
      : profile !== undefined
        ? packName(profile)
        : NOTHING;
  const mark = seal?.mark ?? NOTHING;
  const headerBytes =
    strings.reduce((sum, s) => sum + 1 + s.length, FIXED_HEADER_BYTES) + extra.length + mark.length;
  const bodyBytes = body.length + (seal === null ? 0 : TAG_BYTES);
  const block = Buffer.allocUnsafe(headerBytes + bodyBytes);
  block.writeUInt32BE(MAGIC, 0);
  block[4] = VERSION;
  block[5] = FLAG_OF[encoding] | flagsOf(header) | (seal === null ? 0 : FLAG_SEALED);
  block.writeUInt16BE(headerBytes, 6);
  block.writeUInt32BE(rawBytes, 12);
  block.writeUInt32BE(bodyBytes, 16);
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
  extra.copy(block, at);
  mark.copy(block, at + extra.length);
  if (seal === null) body.copy(block, headerBytes);
  else encryptInto(block, headerBytes, body, seal.key, seal.nonce);
  block.writeUInt32BE(checksum(block), CRC_OFFSET);
  return block;
}

const NOTHING = Buffer.alloc(0);

function flagsOf({ complete, streamed }: BlockHeader): number {
  return (complete ? FLAG_COMPLETE : 0) | (streamed === undefined ? 0 : FLAG_STREAMED);
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
  const fieldsEnd = (flags & FLAG_SEALED) === 0 ? headerBytes : headerBytes - MARK_BYTES;
  const plainBytes = fieldsEnd === headerBytes ? bodyBytes : bodyBytes - TAG_BYTES;
  if (plainBytes < 0 || fieldsEnd < FIXED_HEADER_BYTES + 4) throw corrupt('it is sealed and has no seal');
  if (encoding === 'rows' && rawBytes !== plainBytes)
    throw corrupt('its body has two lengths', { rawBytes, bodyBytes });
  const mark = fieldsEnd === headerBytes ? null : unpackMark(block.subarray(fieldsEnd, headerBytes));
  const profile = encoding === 'profile' ? nameBefore(block, fieldsEnd, flags) : null;
  const header = readFields(block, profile === null ? fieldsEnd : fieldsEnd - NAME_BYTES, flags);
  return { header, encoding, rawBytes, bodyStart: headerBytes, mark, profile };
}

function encodingOf(flags: number): Encoding {
  switch (flags & (FLAG_ZSTD | FLAG_COLUMNS | FLAG_SNAPPY | FLAG_PROFILE)) {
    case 0:
      return 'rows';
    case FLAG_ZSTD:
      return 'zstd';
    case FLAG_COLUMNS:
      return 'columns';
    case FLAG_SNAPPY:
      return 'snappy';
    case FLAG_PROFILE:
      return 'profile';
    default:
      throw corrupt('its body is encoded in two ways');
  }
}

function nameBefore(block: Buffer, end: number, flags: number): ProfileName {
  const at = end - NAME_BYTES;
  if (at < FIXED_HEADER_BYTES + 4 || (flags & FLAG_STREAMED) !== 0)
    throw corrupt('its body is by a profile and it names none');
  return unpackName(block, at);
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
  const rest = block.subarray(at, headerBytes);
  if ((flags & FLAG_STREAMED) === 0) {
    if (rest.length > 0) throw corrupt('its header has bytes to spare');
    return header;
  }
  const streamed = unpackStreamed(rest);
  if (streamed === null) throw corrupt('what it says of a streamed transaction cannot be read');
  return { ...header, streamed };
}

/** Without a look at the rest: does the block speak of a transaction that had not committed? False for what is no block. */
export function isStreamed(block: Buffer): boolean {
  return block.length >= FIXED_HEADER_BYTES && ((block[5] ?? 0) & FLAG_STREAMED) !== 0;
}

/**
 * Which key a block is sealed under; null for one that is not sealed, or no block. So that a reader can fetch a key before it needs it. What is
 * wrong with a block is told by whoever reads it.
 */
export function sealedUnder(block: Buffer): { readonly tenant: TenantId; readonly keyId: number } | null {
  if (block.length < FIXED_HEADER_BYTES || ((block[5] ?? 0) & FLAG_SEALED) === 0) return null;
  try {
    const { header, mark } = openEnvelope(block);
    return mark === null ? null : { tenant: header.tenant, keyId: mark.keyId };
  } catch {
    return null;
  }
}

/**
 * The same without a look at the checksum, for whoever asks of every block and acts on nothing but the answer "a key I have". What it says of a
 * damaged block may be nonsense.
 */
export function peekSeal(block: Buffer): { readonly tenant: TenantId; readonly keyId: number } | null {
  const markAt = markOf(block);
  if (markAt === null) return null;
  let at = FIXED_HEADER_BYTES;
  for (let skipped = 0; skipped < 2; skipped++) at += 1 + (block[at] ?? 0); // source, database
  const start = at + 1;
  const end = start + (block[at] ?? 0);
  if (end > markAt) return null;
  return { tenant: block.toString('utf8', start, end) as TenantId, keyId: block.readUInt32BE(markAt) };
}

/** Which key a block is sealed with, as `keyOfMark` says it; null: it is not sealed, or no block. */
export function keyOfBlock(block: Buffer): string | null {
  const markAt = markOf(block);
  return markAt === null ? null : keyOfMark(block.subarray(markAt));
}

/** Where the seal's mark stands, without a look at the checksum; null: it is not sealed, or no block. */
function markOf(block: Buffer): number | null {
  if (block.length < FIXED_HEADER_BYTES || ((block[5] ?? 0) & FLAG_SEALED) === 0) return null;
  const at = block.readUInt16BE(6) - MARK_BYTES;
  return at < FIXED_HEADER_BYTES || at + MARK_BYTES > block.length ? null : at;
}

/** Which profile a block needs, without a look at the checksum; null: none, or no block. As {@link peekSeal}. */
export function peekProfile(block: Buffer): ProfileName | null {
  const flags = block.length < FIXED_HEADER_BYTES ? 0 : (block[5] ?? 0);
  if ((flags & FLAG_PROFILE) === 0) return null;
  const end = block.readUInt16BE(6) - ((flags & FLAG_SEALED) === 0 ? 0 : MARK_BYTES);
  const at = end - NAME_BYTES;
  return at < FIXED_HEADER_BYTES || end > block.length ? null : unpackName(block, at);
}

/** Reads and checks the header; the checksum covers the body too. @throws DroverError `block.corrupt`, `block.version` */
export function readHeader(block: Buffer): BlockHeader {
  return openEnvelope(block).header;
}
