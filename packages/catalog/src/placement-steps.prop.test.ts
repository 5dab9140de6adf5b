/** Every transition against every state a placement can be in: the allowed ones do what they say, all others refuse and change nothing. */
import { clusterId, DroverError, epoch, tenantId } from '@drover/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Placement } from './placement.ts';
import {
  abortMove,
  advanceMove,
  beginAbort,
  beginFailover,
  beginSwitchover,
  convertToFailover,
  finishMove,
} from './placement-steps.ts';

const [east, west, north] = [clusterId('east'), clusterId('west'), clusterId('north')];
const now = new Date('2026-01-02T03:04:05.678Z');
const since = '2026-01-01T00:00:00.000Z';
const ACTIVE: Placement = {
  tenant: tenantId('acme'),
  epoch: epoch(7),
  epochSeq: 3,
  primary: east,
  database: 'app',
  tier: 'standard',
  replicas: { west: { state: 'live', since }, north: { state: 'live', since } },
  state: 'active',
  updatedAt: since,
};
const request = { id: 'm1', to: west, reason: 'test', now };
const facts = { barrierLsn: '0/1', openSeq: 41 };

const STEPS = {
  beginSwitchover: (p: Placement) => beginSwitchover(p, request),
  beginFailover: (p: Placement) => beginFailover(p, request),
  'advance to hold': (p: Placement) => advanceMove(p, 'hold', {}, now),
  'advance to fence': (p: Placement) => advanceMove(p, 'fence', {}, now),
  'advance to abort': (p: Placement) => advanceMove(p, 'abort', {}, now),
  'advance to close': (p: Placement) => advanceMove(p, 'close', {}, now),
  'advance to drain': (p: Placement) => advanceMove(p, 'drain', { barrierLsn: facts.barrierLsn }, now),
  'advance to open': (p: Placement) => advanceMove(p, 'open', { openSeq: facts.openSeq }, now),
  convertToFailover: (p: Placement) => convertToFailover(p, 'died', now),
  finishMove: (p: Placement) => finishMove(p, { holdMs: 5, now }),
  beginAbort: (p: Placement) => beginAbort(p, 'x', now),
  abortMove: (p: Placement) => abortMove(p, now),
} as const;
type Step = keyof typeof STEPS;

/** The state a placement is in, as the table names it. */
const nameOf = (p: Placement) => (p.move === undefined ? p.state : `${p.move.kind} ${p.move.step}`);

/** What may follow what. Everything else is refused. */
const TABLE: Readonly<Record<string, Partial<Record<Step, string>>>> = {
  active: { beginSwitchover: 'switchover hold', beginFailover: 'failover fence' },
  'switchover hold': {
    'advance to close': 'switchover close',
    beginAbort: 'switchover abort',
    convertToFailover: 'failover fence',
  },
  'switchover close': {
    'advance to drain': 'switchover drain',
    beginAbort: 'switchover abort',
    convertToFailover: 'failover fence',
  },
  'switchover drain': {
    'advance to open': 'switchover open',
    beginAbort: 'switchover abort',
    convertToFailover: 'failover fence',
  },
  'switchover open': { finishMove: 'active' },
  'switchover abort': { abortMove: 'active', convertToFailover: 'failover fence' },
  'failover fence': { 'advance to drain': 'failover drain' },
  'failover drain': { 'advance to open': 'failover open' },
  'failover open': { finishMove: 'active' },
};

/** One placement in each state. */
const states = new Map<string, Placement>([['active', ACTIVE]]);
for (const [name, placement] of states) {
  for (const [step, next] of Object.entries(TABLE[name] ?? {})) {
    if (!states.has(next)) states.set(next, STEPS[step as Step](placement));
  }
}

describe('the table of transitions', () => {
  it('reaches every state', () => expect([...states.keys()].sort()).toEqual(Object.keys(TABLE).sort()));

  const cells = [...states.keys()].flatMap((name) =>
    (Object.keys(STEPS) as Step[]).map((step) => [name, step] as const),
  );
  it.each(cells)('%s: %s', (name, step) => {
    const from = states.get(name) as Placement;
    const before = structuredClone(from);
    const next = TABLE[name]?.[step];
    if (next === undefined) expect(() => STEPS[step](from)).toThrow(DroverError);
    else expect(nameOf(STEPS[step](from))).toBe(next);
    expect(from).toEqual(before);
  });
});

describe('however a placement is moved', () => {
  const walk = fc.array(
    fc.record({
      step: fc.constantFrom(...(Object.keys(STEPS) as Step[])),
      to: fc.constantFrom(east, west, north),
    }),
    {
      maxLength: 40,
    },
  );

  it('its epoch only grows, by one with each new primary; it has one primary that is no replica; a crash after any step loses nothing', () => {
    fc.assert(
      fc.property(walk, (steps) => {
        let p = ACTIVE;
        for (const { step, to } of steps) {
          const before = p;
          try {
            if (step === 'beginSwitchover') p = beginSwitchover(p, { ...request, to });
            else if (step === 'beginFailover') p = beginFailover(p, { ...request, to });
            else p = STEPS[step](p);
          } catch (error) {
            expect(error).toBeInstanceOf(DroverError);
            continue;
          }
          // What another leader reads is all there is: nothing is kept outside of the record.
          p = JSON.parse(JSON.stringify(p)) as Placement;
          expect(p.epoch - before.epoch).toBe(p.primary === before.primary ? 0 : 1);
          if (p.primary !== before.primary) expect(p.epochSeq).toBe(facts.openSeq);
          expect(Object.keys(p.replicas)).not.toContain(p.primary);
          expect(new Set([p.primary, ...Object.keys(p.replicas)])).toEqual(new Set([east, west, north]));
          expect(p.state === 'moving').toBe(p.move !== undefined);
          expect(p.updatedAt).toBe(now.toISOString());
          if (p.move !== undefined) {
            expect(p.move.nextEpoch).toBe(p.epoch + 1);
            expect(p.move.from).toBe(p.primary);
            expect(p.replicas[p.move.to]?.state).toBe('live');
          } else expect(p.lastMove).toMatchObject({ id: 'm1', from: before.move?.from, to: before.move?.to });
        }
      }),
      { numRuns: 300 },
    );
  });

  it('it comes to rest when whoever resumes it just goes on', () => {
    for (const start of states.values()) {
      let p = start;
      for (let i = 0; p.move !== undefined && i < 10; i++) {
        const [step] = Object.keys(TABLE[nameOf(p)] ?? {}) as Step[];
        p = STEPS[step as Step](JSON.parse(JSON.stringify(p)) as Placement);
      }
      expect(p.state).toBe('active');
    }
  });
});

describe('what a move leaves behind', () => {
  const opened = states.get('failover open') as Placement;
  it('marks clusters that must rejoin or be copied', () => {
    const done = finishMove(opened, { holdMs: 1, returning: [east], copying: [north], now });
    expect(done.replicas).toEqual({
      east: { state: 'returning', since: now.toISOString() },
      north: { state: 'copying', since: now.toISOString() },
    });
  });

  it.each([
    ['close', 'switchover close', {}, /barrier/],
    ['drain', 'switchover drain', {}, /sequence/],
  ] as const)('never misses what the step after %s needs', (_, name, given, message) => {
    const from = states.get(name) as Placement;
    const to = name === 'switchover close' ? 'drain' : 'open';
    expect(() => advanceMove(from, to, given, now)).toThrow(message);
  });
});
