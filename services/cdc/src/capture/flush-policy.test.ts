import { describe, expect, it } from 'vitest';
import { decideFlush, decidePause, type LaneLoad } from './flush-policy.ts';

const LIMITS = { blockBytes: 1000, flushMs: 20, laneBytes: 1_000_000 };
const IDLE: LaneLoad = {
  waitingBytes: 10,
  largestBytes: 10,
  inFlightGroups: 0,
  urgent: false,
  oldestAtMs: 100,
  behind: false,
  blocks: 1,
  readBytes: 0,
  behindMs: 0,
  publishedAtMs: 0,
};
const BEHIND = { behind: true, behindMs: 400, blocks: 20 };
const NEVER = Number.POSITIVE_INFINITY;

describe('flushing', () => {
  it.each<[string, Partial<LaneLoad>, number, ReturnType<typeof decideFlush>]>([
    ['nothing waits', { waitingBytes: 0, urgent: true }, 200, NEVER],
    ['idle: at once', {}, 100, 'flush'],
    ['just published: a moment later', { publishedAtMs: 199 }, 200, 1],
    ['catching up: by age', { behind: true }, 105, 15],
    ['catching up: old enough', { behind: true }, 120, 'flush'],
    ['a group is in flight: by age', { inFlightGroups: 1 }, 110, 10],
    ['a group is in flight: old enough', { inFlightGroups: 1 }, 121, 'flush'],
    ['two are in flight: the next acknowledgement decides', { inFlightGroups: 2 }, 900, NEVER],
    ['a block is full', { inFlightGroups: 2, largestBytes: 1000 }, 100, 'flush'],
    ['many small blocks', { inFlightGroups: 2, waitingBytes: 4000 }, 100, 'flush'],
    ['far behind: small blocks wait for more', { ...BEHIND, waitingBytes: 500_000 }, 120, 180],
    [
      'far behind for the sake of others: the few blocks at once',
      { ...BEHIND, readBytes: 20 * 65_536 },
      120,
      'flush',
    ],
    ['though not before their age', { ...BEHIND, readBytes: 20 * 65_536 }, 115, 185],
    ['nor with two groups in flight', { ...BEHIND, readBytes: 20 * 65_536, inFlightGroups: 2 }, 120, NEVER],
    [
      'far behind, though the last read was short',
      { ...BEHIND, behind: false, waitingBytes: 500_000 },
      120,
      180,
    ],
    [
      'far behind: until they are worth it',
      { ...BEHIND, waitingBytes: 10 * 64 * 1024, blocks: 10 },
      120,
      'flush',
    ],
    ['far behind: within bounds', { ...BEHIND, blocks: 900, waitingBytes: 1_000_000 }, 120, 'flush'],
    ['far behind: and not for ever', { ...BEHIND, waitingBytes: 500_000 }, 300, 'flush'],
    [
      'far behind for long: no longer than a second',
      { ...BEHIND, behindMs: 60_000, waitingBytes: 500_000 },
      120,
      980,
    ],
    ['far behind: a block is full', { ...BEHIND, largestBytes: 1000 }, 120, 'flush'],
    ['somebody waits for a barrier', { inFlightGroups: 5, urgent: true }, 100, 'flush'],
  ])('%s', (_, load, nowMs, answer) => {
    expect(decideFlush({ ...IDLE, ...load }, LIMITS, nowMs)).toBe(answer);
  });
});

describe('pausing', () => {
  it.each([
    [false, 101, 1, true],
    [false, 100, 1, false],
    [true, 51, 1, true],
    [true, 50, 1, false],
    // Nothing in flight: no acknowledgement would ever resume it.
    [false, 500, 0, false],
    [true, 500, 0, false],
  ])('paused %s, %i held, %i in flight: %s', (paused, heldBytes, inFlightBytes, expected) => {
    expect(decidePause({ paused, heldBytes, inFlightBytes }, 100)).toBe(expected);
  });
});
