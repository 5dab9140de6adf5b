import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DeficitRoundRobin } from './drr.ts';

const QUANTUM = 1000;

const flows = fc.array(
  fc.record({ weight: fc.integer({ min: 1, max: 20 }), costMax: fc.integer({ min: 1, max: 5000 }) }),
  {
    minLength: 1,
    maxLength: 8,
  },
);

/** Flows that always have work, for `turns` turns; each takes pieces of its own size until its budget is used up. */
function serve(
  of: readonly { weight: number; costMax: number }[],
  turns: number,
  onTurn: (key: number, had: readonly number[]) => void = () => undefined,
): number[] {
  const turnsOf = new DeficitRoundRobin<number>(QUANTUM);
  const had = of.map(() => 0);
  for (const [key, { weight }] of of.entries()) {
    turnsOf.join(key, weight);
    turnsOf.wake(key);
  }
  for (let i = 0; i < turns; i++) {
    const turn = turnsOf.next();
    if (turn === null) throw new Error('all have work');
    let cost = 0;
    while (cost === 0 || cost < turn.budget) cost += of[turn.key]?.costMax ?? 0;
    had[turn.key] = (had[turn.key] ?? 0) + cost;
    turnsOf.charge(turn.key, cost, true);
    onTurn(turn.key, had);
  }
  return had;
}

describe('deficit round robin', () => {
  it('gives shares by weight, within two quanta and the largest piece, at any moment', () => {
    fc.assert(
      fc.property(flows, fc.integer({ min: 1, max: 300 }), (of, turns) => {
        serve(of, turns, (_, had) => {
          const shares = had.map((bytes, i) => bytes / (of[i]?.weight ?? 1));
          const largest = Math.max(...of.map(({ weight, costMax }) => costMax / weight));
          expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(2 * QUANTUM + largest);
        });
      }),
    );
  });

  it('starves nobody: between two turns of a flow no other has more than its rounds', () => {
    fc.assert(
      fc.property(flows, (of) => {
        const worst = Math.max(
          ...of.map(({ weight, costMax }) => Math.ceil(costMax / (QUANTUM * weight)) + 1),
        );
        const since = of.map(() => 0);
        serve(of, 500, (key) => {
          for (let i = 0; i < since.length; i++) since[i] = i === key ? 0 : (since[i] ?? 0) + 1;
          expect(Math.max(...since)).toBeLessThanOrEqual(of.length * (worst + 1));
        });
      }),
    );
  });

  it('serves in the long run whoever has work, whatever comes and goes', () => {
    const step = fc.record({
      kind: fc.constantFrom('wake', 'rest', 'leave', 'join', 'turn'),
      key: fc.integer({ min: 0, max: 4 }),
      cost: fc.integer({ min: 0, max: 20_000 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const turns = new DeficitRoundRobin<number>(QUANTUM);
        const awake = new Set<number>();
        for (const { kind, key, cost } of steps) {
          if (kind === 'join') turns.join(key, 1 + key);
          else if (kind === 'wake' && turns.has(key)) {
            turns.wake(key);
            awake.add(key);
          } else if (kind === 'rest') {
            turns.rest(key);
            awake.delete(key);
          } else if (kind === 'leave') {
            turns.leave(key);
            awake.delete(key);
          } else if (kind === 'turn') {
            const turn = turns.next();
            expect(turn === null).toBe(awake.size === 0);
            if (turn === null) continue;
            expect(awake.has(turn.key)).toBe(true);
            expect(turn.budget).toBeGreaterThan(0);
            awake.delete(turn.key);
            turns.charge(turn.key, cost, false);
          }
        }
      }),
    );
  });
});

describe('a turn', () => {
  it('that took too much is paid back before the next', () => {
    const turns = new DeficitRoundRobin<string>(QUANTUM);
    for (const key of ['a', 'b']) {
      turns.join(key, 1);
      turns.wake(key);
    }
    const order: string[] = [];
    for (let i = 0; i < 8; i++) {
      const { key } = turns.next() ?? { key: '' };
      order.push(key);
      turns.charge(key, i === 0 ? 3 * QUANTUM : QUANTUM, true);
    }
    expect(order.join('')).toBe('abbbabab');
  });

  it('may be one of several at once, and is not given twice', () => {
    const turns = new DeficitRoundRobin<string>(QUANTUM);
    for (const key of ['a', 'b']) {
      turns.join(key, 1);
      turns.wake(key);
    }
    expect([turns.next()?.key, turns.next()?.key, turns.next()]).toEqual(['a', 'b', null]);
    turns.wake('a');
    expect(turns.next()).toBeNull();
    turns.charge('a', 1, false);
    expect(turns.next()?.key).toBe('a');
  });

  it('not taken is lost to whoever rests, but no debt is', () => {
    const turns = new DeficitRoundRobin<string>(QUANTUM);
    turns.join('a', 1);
    turns.wake('a');
    turns.next();
    turns.charge('a', 1, false);
    turns.rest('a');
    turns.wake('a');
    expect(turns.next()?.budget).toBe(QUANTUM);
    turns.charge('a', 1.5 * QUANTUM, false);
    turns.rest('a');
    turns.wake('a');
    expect(turns.next()?.budget).toBe(QUANTUM / 2);
  });
});
