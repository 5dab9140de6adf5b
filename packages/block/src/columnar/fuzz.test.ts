/** Damaged columns are decoded to the declared length or refused: never a crash, a loop or memory without bounds. */
import { describe, expect, it } from 'vitest';
import { decodeColumnar } from './decode.ts';
import { encodeUnguarded } from './encode.ts';
import { COLUMNAR_RAW_BYTES_MAX } from './limits.ts';
import { PlanCache } from './plan-cache.ts';
import { Budget } from './streams.ts';
import { makeBody } from './test-bodies.ts';
import { damage, outcome } from './test-damage.ts';
import { seeded } from './testing.ts';

function storedOf(raw: Buffer): Buffer {
  const stored = encodeUnguarded(raw, new PlanCache());
  expect(stored).not.toBeNull();
  return Buffer.from(stored!);
}

describe('damaged columns', () => {
  it('are decoded or refused', () => {
    const outcomes = { decoded: 0, refused: 0 };
    for (let seed = 0; seed < 40; seed++) {
      const random = seeded(seed);
      const rows = [5, 30, 80, 300][seed % 4]!;
      const raw = makeBody({
        seed,
        rows,
        tables: 1 + (seed % 3),
        columns: 1 + (seed % 9),
        plain: seed % 5 === 0,
      });
      const stored = storedOf(raw);
      for (let times = 0; times < 60; times++) outcomes[outcome(damage(random, stored), raw.length)]++;
    }
    // Both happen, or the damage is not what it should be.
    expect(outcomes.decoded).toBeGreaterThan(100);
    expect(outcomes.refused).toBeGreaterThan(1000);
  });

  it('are refused when cut anywhere, or longer, or of another declared length', () => {
    const raw = makeBody({ seed: 5, rows: 40, tables: 2, columns: 4 });
    const stored = storedOf(raw);
    for (let bytes = 0; bytes < stored.length; bytes++) {
      expect(outcome(stored.subarray(0, bytes), raw.length)).toBe('refused');
    }
    expect(outcome(Buffer.concat([stored, Buffer.from([0])]), raw.length)).toBe('refused');
    for (const declared of [
      0,
      1,
      raw.length - 1,
      raw.length + 1,
      COLUMNAR_RAW_BYTES_MAX,
      COLUMNAR_RAW_BYTES_MAX + 1,
    ]) {
      expect(outcome(stored, declared)).toBe('refused');
    }
  });

  it('are refused before more is allocated than the budget allows', () => {
    const budget = new Budget(100);
    budget.spend(60);
    expect(() => budget.spend(41)).toThrow('more than it declares');
    expect(() => budget.spend(Number.NaN)).toThrow('more than it declares');
    budget.spend(40);
  });

  it('of an unknown version are refused', () => {
    expect(() => decodeColumnar(Buffer.from([2, 0, 0, 0, 0]), 600)).toThrow('unknown version');
  });

  it('never need more than the budget when they are whole: wide and nearly all null', () => {
    for (const columns of [1, 400, 1600]) {
      const raw = makeBody({ seed: columns, rows: 64, tables: 1, columns });
      expect(outcome(storedOf(raw), raw.length)).toBe('decoded');
    }
  });
});
