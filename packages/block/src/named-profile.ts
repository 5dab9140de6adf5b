/**
 * How the header of a block names the profile that its body needs (`columnar/profile.ts`): a profile stands in the same stream, in a message of its own
 * before the first block that needs it. Six bytes of that message's sequence, four of the profile's hash.
 */
import type { TenantId } from '@drover/core';
import type { Profile } from './columnar/profile.ts';

export interface ProfileName {
  /** Sequence of its message in the stream that the block is in. */
  readonly seq: number;
  /** The first four bytes of its hash: a stream that has lost its end may hold another message there. */
  readonly check: number;
}

/** What a reader needs: profiles that it has fetched. */
export interface KnownProfiles {
  /** Null: it is not here. `key`: what the block is sealed with, as its profile must be; null: neither is. */
  find(tenant: TenantId, name: ProfileName, key: string | null): Profile | null;
}

/** All profiles of one database that a writer uses together, bytes as published; a reader keeps as many, so that it need not fetch one twice. In memory they take about twelve times as much. */
export const PROFILES_BYTES_MAX = 4 * 1024 * 1024;

export const NAME_BYTES = 10;
const SEQ_BYTES = 6;
const SEQ_MAX = 2 ** (8 * SEQ_BYTES) - 1;

export function packName({ seq, check }: ProfileName): Buffer {
  const bytes = Buffer.allocUnsafe(NAME_BYTES);
  bytes.writeUIntBE(seq, 0, SEQ_BYTES);
  bytes.writeUInt32BE(check, SEQ_BYTES);
  return bytes;
}

export function unpackName(bytes: Buffer, at = 0): ProfileName {
  return { seq: bytes.readUIntBE(at, SEQ_BYTES), check: bytes.readUInt32BE(at + SEQ_BYTES) };
}

/** Streams do not come to more: at a million messages a second it is nine years. */
export function canBeNamed(seq: number): boolean {
  return seq > 0 && seq <= SEQ_MAX;
}
