/** A profile as a message of its own: a block of its tenant with nothing but the profile in it, sealed as its other blocks are. */
import { BlockWriter } from './block-writer.ts';
import { Profile } from './columnar/profile.ts';
import { corrupt, keyOfBlock } from './header.ts';
import type { Packer } from './packing.ts';
import type { Opener } from './seal/opener.ts';
import type { BlockHeader, BlockVisitor } from './types.ts';
import { walkBlock } from './walk-block.ts';

const PREFIX = 'drover.profile';
/** Larger ones are not written. */
const BYTES_MAX = 1024 * 1024;

/** Null: its tenant has another key now than what it was learnt under. @throws DroverError `key.unavailable` by the packer's sealer */
export function writeProfileBlock(
  header: Omit<BlockHeader, 'transactions' | 'changes'>,
  { profile, key }: { readonly profile: Profile; readonly key: string | null },
  packer: Packer,
): Buffer | null {
  const writer = new BlockWriter();
  writer.message(header.lastLsn, PREFIX, profile.bytes);
  const block = writer.finish(header, packer);
  return keyOfBlock(block) === key ? block : null;
}

/** @throws DroverError `block.corrupt`, `block.version`, `block.codec`, `block.sealed` */
export function readProfileBlock(block: Buffer, opener: Opener): Profile {
  const found = new FindProfile();
  walkBlock(block, found, { opener, rawBytesMax: BYTES_MAX });
  if (found.bytes === null) throw corrupt('it should hold a profile and holds none');
  return new Profile(Buffer.from(found.bytes));
}

class FindProfile implements BlockVisitor {
  bytes: Buffer | null = null;

  message(_lsn: unknown, prefix: string, content: Buffer): void {
    if (prefix === PREFIX) this.bytes = content;
  }

  relation(): void {}
  begin(): void {}
  insert(): void {}
  update(): void {}
  delete(): void {}
  truncate(): void {}
}
