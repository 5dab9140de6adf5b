/** Profiles as messages of a flush group: first in it, sealed as their tenants are, and no part of what a reader resumes from. */
import { type Packer, writeProfileBlock } from '@drover/block';
import { DroverError, type Epoch, type Lsn } from '@drover/core';
import { idOf, type LaneIdentity, type Outgoing } from './outgoing.ts';
import type { Lesson } from './profiles.ts';

/** Of profiles, which no reader in order gets to see. */
const TOKEN = '_profile';

/** Where each stands in time is of no meaning: at `lsn`, the group's safe LSN. Left out: one whose tenant's key cannot be had, or is another by now. */
export function profileMessages(
  lessons: readonly Lesson[],
  { identity, lsn, packer }: { readonly identity: LaneIdentity; readonly lsn: Lsn; readonly packer: Packer },
): Outgoing[] {
  const place = { firstLsn: lsn, lastLsn: lsn, part: 0, complete: true };
  return lessons.flatMap(({ scope, profile, onSeq }) => {
    const header = { ...identity, tenant: scope.tenant, epoch: 0 as Epoch, ...place, commitTimeUs: 0n };
    try {
      const block = writeProfileBlock(header, { profile, key: scope.key }, packer);
      return block === null
        ? []
        : [{ token: TOKEN, block, id: idOf(identity, TOKEN, lsn, 0), ...place, onSeq }];
    } catch (error) {
      if (error instanceof DroverError && error.code === 'key.unavailable') return [];
      throw error;
    }
  });
}
