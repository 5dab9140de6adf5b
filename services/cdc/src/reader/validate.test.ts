import { type Lsn, lsn } from '@drover/core';
import type { Slot } from '@drover/pg';
import { describe, expect, it } from 'vitest';
import type { SourceFacts } from '../capture/resume.ts';
import type { ReaderRecord } from '../watch/reader-record.ts';
import { checkHistory, checkSlot } from './validate.ts';

const at = (n: number): Lsn => lsn(BigInt(n));
const SOURCE: SourceFacts = {
  database: 'app',
  systemId: '7',
  recordedSystemId: '7',
  generation: 2,
  walEnd: at(1000),
  slotLsn: at(10),
  confirmedLsn: at(500),
};
const RECORD: ReaderRecord = {
  generation: 2,
  systemId: '7',
  timeline: 1,
  walLsn: at(600),
  streams: new Map(),
  form: 'binary',
};
const slot = (restart: number) => ({ restartLsn: at(restart) }) as Slot;
const recreated = expect.objectContaining({ code: 'pg.slot_recreated' });

describe('the slot', () => {
  it('goes on: before the record, a little beyond it, or without one', () => {
    checkSlot(SOURCE, slot(400), RECORD);
    checkSlot({ ...SOURCE, confirmedLsn: at(650) }, slot(590), RECORD);
    checkSlot(SOURCE, slot(900), null);
    checkSlot({ ...SOURCE, generation: 3, slotLsn: at(500) }, slot(900), RECORD); // made anew by setup
  });

  it('was made again by other hands when it begins behind the record, or before its own beginning', () => {
    expect(() => checkSlot(SOURCE, slot(601), RECORD)).toThrow(recreated);
    expect(() => checkSlot({ ...SOURCE, confirmedLsn: at(9) }, slot(5), null)).toThrow(recreated);
  });
});

describe('the history', () => {
  const facts = {
    database: 'app',
    timeline: 1,
    knownTimeline: 1,
    branchedAt: null,
    walEnd: at(1000),
    published: at(500),
  };
  const changed = expect.objectContaining({ code: 'pg.identity_changed' });

  it('goes on while the server has all that was published', () => {
    checkHistory(facts);
    checkHistory({ ...facts, knownTimeline: null });
    checkHistory({ ...facts, timeline: 2, branchedAt: at(501) });
  });

  it('is another one: ahead, branched off before, or no descendant', () => {
    for (const more of [
      { published: at(1001) },
      { timeline: 2, branchedAt: at(500) },
      { timeline: 2, branchedAt: at(499) },
      { timeline: 3, branchedAt: null },
      { timeline: 1, knownTimeline: 2 },
    ])
      expect(
        () => checkHistory({ ...facts, ...more }),
        JSON.stringify(more, (_, v) => String(v)),
      ).toThrow(changed);
  });
});
