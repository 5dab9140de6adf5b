import { expect, test } from 'vitest';
import { slotFromRow } from './slot.ts';

const ROW = {
  active: 'true',
  active_pid: '42',
  plugin: 'pgoutput',
  database: 'app',
  wal_status: 'extended',
  safe_wal_size: '2251799813685248',
  confirmed_flush_lsn: '1/A',
  restart_lsn: '1/0',
  invalidation_reason: null,
  conflicting: 'false',
  two_phase: 'false',
  failover: 'true',
};

test('a healthy slot', () => {
  expect(slotFromRow(ROW)).toEqual({
    exists: true,
    active: true,
    activePid: 42,
    plugin: 'pgoutput',
    database: 'app',
    walStatus: 'extended',
    safeWalSize: 2_251_799_813_685_248,
    confirmedFlush: 0x1_0000_000an,
    restartLsn: 0x1_0000_0000n,
    invalidationReason: null,
    twoPhase: false,
    failover: true,
  });
});

test('reasons: named by 17 and newer, derived before', () => {
  expect(
    slotFromRow({ ...ROW, wal_status: 'lost', invalidation_reason: 'idle_timeout' }).invalidationReason,
  ).toBe('idle_timeout');
  const lost = { ...ROW, wal_status: 'lost', conflicting: 'true' };
  expect(slotFromRow({ ...lost, restart_lsn: null }).invalidationReason).toBe('wal_removed');
  expect(slotFromRow(lost).invalidationReason).toBe('rows_removed');
});

test('what a major does not know is null or false', () => {
  const old = slotFromRow({
    ...ROW,
    failover: null,
    safe_wal_size: null,
    active: 'false',
    active_pid: null,
    restart_lsn: null,
  });
  expect(old).toMatchObject({
    failover: false,
    safeWalSize: null,
    active: false,
    activePid: null,
    restartLsn: null,
  });
});
