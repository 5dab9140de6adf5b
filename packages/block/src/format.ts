/**
 * The bytes of a block, version 1. Everything is big-endian; strings are UTF-8.
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 4 | magic `DRVB` |
 * | 4 | 1 | version |
 * | 5 | 1 | flags: 1 the body is zstd, 2 complete, 4 the body is columns (never with 1), 8 of a streamed transaction, 16 sealed, 32 the body is snappy (never with 1 or 4), 64 the body is by a profile (never with 1, 4, 8 or 32); others must be 0 |
 * | 6 | 2 | header length, including what stands behind the fixed fields |
 * | 8 | 4 | CRC-32 (zlib) of bytes 0 to 7 and of everything from 12 on |
 * | 12 | 4 | body length before compression |
 * | 16 | 4 | body length as stored |
 * | 20 | 8 | first LSN |
 * | 28 | 8 | last LSN |
 * | 36 | 8 | epoch |
 * | 44 | 8 | commit time, signed |
 * | 52 | 4 | slot generation |
 * | 56 | 4 | part |
 * | 60 | 4 | transactions |
 * | 64 | 4 | changes |
 * | 68 | … | source, database, tenant, system id: each one length byte and its text |
 * | … | … | with flag 8: see `streamed-header.ts` |
 * | … | 10 | with flag 64: see `named-profile.ts` |
 * | … | 28 | with flag 16: see `seal/mark.ts`; the body is AES-256-GCM, its tag the last 16 bytes, the header additional data |
 *
 * Magic, version and checksum keep their places in every version, so that any reader can tell "newer" from "broken".
 * The body is a sequence of records, one op byte each ({@link Op}); see `records` in `block-writer.ts`. As columns: see `columnar/encode.ts`; by a profile: `columnar/profile.ts`.
 */
export const MAGIC = 0x44525642;
export const VERSION = 1;

export const FLAG_ZSTD = 1;
export const FLAG_COMPLETE = 2;
export const FLAG_COLUMNS = 4;
export const FLAG_STREAMED = 8;
export const FLAG_SEALED = 16;
export const FLAG_SNAPPY = 32;
export const FLAG_PROFILE = 64;
export const KNOWN_FLAGS =
  FLAG_ZSTD | FLAG_COMPLETE | FLAG_COLUMNS | FLAG_STREAMED | FLAG_SEALED | FLAG_SNAPPY | FLAG_PROFILE;

export const CRC_OFFSET = 8;
export const CRC_END = 12;
export const FIXED_HEADER_BYTES = 68;

/** A reader refuses blocks that declare more raw bytes than this, unless told otherwise: memory stays bounded. */
export const RAW_BYTES_MAX = 64 * 1024 * 1024;

/** What stands in front of each record of the body. Part of the format: numbers are never reused. */
export const Op = {
  relation: 1,
  begin: 2,
  insert: 3,
  updateNewOnly: 4,
  updateOldKey: 5,
  updateOldRow: 6,
  deleteOldKey: 7,
  deleteOldRow: 8,
  truncate: 9,
  message: 10,
} as const;

/** Relations a block can name: their index is 16 bits. A writer closes its block before this. */
export const RELATIONS_MAX = 65_535;
