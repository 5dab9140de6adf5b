/**
 * Whether the source that was just connected to is the one whose changes the streams hold, and its slot the one that was confirmed. Asked at each
 * connection, before a byte is read (pitfalls 7, 9, 11, 56). Pure.
 */
import { DroverError, formatLsn, type Lsn } from '@drover/core';
import type { Slot } from '@drover/pg';
import type { SourceFacts } from '../capture/resume.ts';
import type { ReaderRecord } from '../watch/reader-record.ts';

/** The slot of the record's generation must be the one that the record speaks of. @throws DroverError `pg.slot_recreated` */
export function checkSlot(source: SourceFacts, slot: Slot, record: ReaderRecord | null): void {
  const { slotLsn, confirmedLsn } = source;
  const same = record?.generation === source.generation && record.systemId === source.systemId;
  // A slot keeps WAL from before its first reader on: one that begins behind the WAL of the record was made after it.
  const behind = same && slot.restartLsn !== null && slot.restartLsn > record.walLsn;
  const before = slotLsn !== null && confirmedLsn !== null && confirmedLsn < slotLsn;
  if (!behind && !before) return;
  throw new DroverError(
    'pg.slot_recreated',
    `the slot of "${source.database}" was dropped and made again by other hands`,
    {
      hint: 'what was written in between is in no stream: run `drover setup --resync`, then copy the tenants of this cluster anew',
      facts: {
        restart: slot.restartLsn === null ? null : formatLsn(slot.restartLsn),
        confirmed: confirmedLsn === null ? null : formatLsn(confirmedLsn),
        recorded: record === null ? null : formatLsn(record.walLsn),
      },
    },
  );
}

export interface HistoryFacts {
  readonly database: string;
  /** Where the server is now, and where it was when it was read last; null: not recorded. */
  readonly timeline: number;
  readonly knownTimeline: number | null;
  /** Where the known timeline ended, on the way to the server's own. */
  readonly branchedAt: Lsn | null;
  readonly walEnd: Lsn;
  /** Highest commit that the streams hold of this source. */
  readonly published: Lsn;
}

/**
 * What was published must be part of the server's history: a standby that was promoted, or a restore, may lack its end.
 * @throws DroverError `pg.identity_changed`
 */
export function checkHistory(facts: HistoryFacts): void {
  const { timeline, knownTimeline, branchedAt, published, walEnd, database } = facts;
  const changed = (message: string, more: Record<string, unknown>) =>
    new DroverError('pg.identity_changed', message, {
      hint: 'the cluster has lost transactions that were already published (a failover to a standby that lagged, a restore?); its tenants must be copied anew: `drover setup --resync`',
      facts: { published: formatLsn(published), timeline, knownTimeline, ...more },
    });
  if (knownTimeline !== null && knownTimeline !== timeline) {
    if (branchedAt === null)
      throw changed(
        `database "${database}" is on timeline ${timeline}, which does not descend from ${knownTimeline}`,
        {},
      );
    if (published >= branchedAt)
      throw changed(
        `database "${database}" is on timeline ${timeline}, which branched off before what the streams hold`,
        { branchedAt: formatLsn(branchedAt) },
      );
  }
  if (published > walEnd)
    throw changed(`the stream is ahead of database "${database}"`, { source: formatLsn(walEnd) });
}
