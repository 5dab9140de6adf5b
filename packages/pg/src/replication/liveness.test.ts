import { expect, test } from 'vitest';
import { judgePeer, type PeerObservation, peerTimeoutMs, statusIntervalMs } from './liveness.ts';

test.each([
  [0, 10_000],
  [60_000, 10_000],
  [30_000, 10_000],
  [2_000, 2_000 / 3],
  [1, 10],
])('wal_sender_timeout %i ms: status every %d ms', (timeout, interval) => {
  expect(statusIntervalMs(timeout)).toBeCloseTo(interval);
});

test('patience is one and a half times the server’s, and bounded where it has none', () => {
  expect(peerTimeoutMs(60_000)).toBe(90_000);
  expect(peerTimeoutMs(0)).toBe(60_000);
});

const quiet: PeerObservation = {
  nowMs: 100_000,
  lastLookMs: 90_000,
  lookIntervalMs: 10_000,
  listeningSinceMs: 0,
  lastReceivedMs: 0,
  peerTimeoutMs: 90_000,
};

test.each<[string, Partial<PeerObservation>, string]>([
  ['heard of just now', { lastReceivedMs: 99_000 }, 'alive'],
  ['silent for half a look', { lastReceivedMs: 95_000 }, 'silent'],
  ['silent just below the bound', { lastReceivedMs: 10_001 }, 'silent'],
  ['silent up to the bound', { lastReceivedMs: 10_000 }, 'dead'],
  ['paused for ever', { listeningSinceMs: null }, 'not_listening'],
  ['paused until lately', { listeningSinceMs: 99_999 }, 'alive'],
  ['resumed, and silent since', { listeningSinceMs: 20_000 }, 'silent'],
  ['resumed long ago, and silent since', { listeningSinceMs: 10_000 }, 'dead'],
  ['we ourselves did not run', { lastLookMs: 79_999 }, 'stalled'],
  ['we were only a little late', { lastLookMs: 80_000 }, 'dead'],
])('%s', (_, seen, verdict) => {
  expect(judgePeer({ ...quiet, ...seen })).toBe(verdict);
});
