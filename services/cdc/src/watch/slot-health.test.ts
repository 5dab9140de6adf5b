import { type Lsn, lsn } from '@drover/core';
import { describe, expect, it } from 'vitest';
import { SlotJudge, type SlotLook, size } from './slot-health.ts';

const MiB = 1024 ** 2;
const BOUNDS = { warnRetained: 100 * MiB, warnSafeWal: 50 * MiB, warnTimeLeftMs: 600_000 };
const at = (n: number): Lsn => lsn(BigInt(n));

function look(seconds: number, wal: number, slot: Partial<NonNullable<SlotLook['slot']>> = {}): SlotLook {
  return {
    atMs: seconds * 1000,
    walLsn: at(wal),
    slot: {
      walStatus: 'reserved',
      invalidationReason: null,
      inactiveSinceMs: null,
      active: true,
      restartLsn: at(wal - MiB),
      confirmedLsn: at(wal),
      safeWalBytes: null,
      ...slot,
    },
  };
}

describe('the health of a slot', () => {
  it('is well while its reader keeps up, also under a small bound', () => {
    const judge = new SlotJudge('s', BOUNDS);
    for (let s = 0; s < 20; s++) {
      const health = judge.judge(look(s, 500 * MiB + s * MiB, { safeWalBytes: 40 * MiB }));
      expect(health.warnings).toEqual([]);
      expect(health.retainedBytes).toBe(MiB);
    }
  });

  it('estimates the time that is left from the rate at which WAL is written', () => {
    const judge = new SlotJudge('s', BOUNDS);
    let health = judge.judge(look(0, 500 * MiB, { safeWalBytes: 1000 * MiB }));
    expect([health.secondsLeft, health.walBytesPerSecond]).toEqual([null, 0]);
    for (let s = 1; s <= 300; s++) {
      const kept = { restartLsn: at(500 * MiB), safeWalBytes: (1000 - s) * MiB };
      health = judge.judge(look(s, (500 + s) * MiB, kept), 'west');
    }
    expect(health.walBytesPerSecond).toBeCloseTo(MiB, -3);
    expect(health.secondsLeft).toBeCloseTo(700, 0);
    expect(health.warnings).toEqual([
      expect.stringMatching(/^slot s keeps 300 MiB of WAL, held back by west$/),
    ]);
    // Twice as fast: now it is near.
    for (let s = 301; s <= 420; s++)
      health = judge.judge(
        look(s, (800 + 4 * (s - 300)) * MiB, { restartLsn: at(500 * MiB), safeWalBytes: 500 * MiB }),
      );
    expect(health.warnings[1]).toMatch(
      /invalidated when 500 MiB more WAL are written .*, (1[2-9]\d s|\d min) at the rate/,
    );
  });

  it('tells why it is gone, and what keeps it from happening again', () => {
    const judge = new SlotJudge('s', BOUNDS);
    const told = (slot: Partial<NonNullable<SlotLook['slot']>>) =>
      judge.judge(look(1, 900 * MiB, slot)).warnings;
    expect(told({ walStatus: 'lost' })).toEqual([
      expect.stringMatching(/wal_removed.*max_slot_wal_keep_size/),
    ]);
    expect(told({ invalidationReason: 'idle_timeout', walStatus: 'lost' })).toEqual([
      expect.stringMatching(/idle_timeout.*idle_replication_slot_timeout/),
    ]);
    expect(told({ invalidationReason: 'rows_removed' })).toEqual([
      expect.stringMatching(/hot_standby_feedback/),
    ]);
    expect(told({ walStatus: 'unreserved', safeWalBytes: -5 })).toEqual([
      expect.stringMatching(/next checkpoint/),
    ]);
    expect(told({ active: false, inactiveSinceMs: -3_600_000 })).toEqual([
      expect.stringMatching(/has not been read for 60 min/),
    ]);
    expect(judge.judge({ atMs: 5, walLsn: at(1), slot: null })).toMatchObject({
      walStatus: 'missing',
      warnings: ['slot s does not exist'],
    });
  });

  it('writes sizes as people do', () => {
    expect([0, 1023, 1536, 50 * MiB, 5.25 * 1024 * MiB].map(size)).toEqual([
      '0 B',
      '1023 B',
      '1.5 KiB',
      '50 MiB',
      '5.3 GiB',
    ]);
  });
});
