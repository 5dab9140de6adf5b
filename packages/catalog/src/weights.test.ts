import { describe, expect, it } from 'vitest';
import { Weights } from './weights.ts';

const TIERS = { standard: { weight: 1 }, gold: { weight: 4 } };
const tick = () => new Promise((resolve) => setImmediate(resolve));

describe('weights', () => {
  it('are 1 until the tier is known, and asked for once in a while', async () => {
    let asked = 0;
    let now = 0;
    const tierOf = async () => {
      asked++;
      return 'gold';
    };
    const weights = new Weights({ tiers: TIERS, tierOf, nowMs: () => now });
    expect(weights.of('a')).toBe(1);
    await tick();
    expect([weights.of('a'), weights.of('a'), asked]).toEqual([4, 4, 1]);
    now = 60_000;
    expect(weights.of('a')).toBe(4);
    await tick();
    expect(asked).toBe(2);
    expect(await weights.ask('b')).toBe(4);
  });

  it('are those of `standard` for tenants and tiers nobody knows, and stay when the catalog is away', async () => {
    const tiers: Record<string, string | null> = { b: 'silver', c: 'gold' };
    let away = false;
    let now = 0;
    const tierOf = async (tenant: string) => {
      if (away) throw new Error('away');
      return tiers[tenant] ?? null;
    };
    const weights = new Weights({ tiers: TIERS, tierOf, nowMs: () => now });
    for (const tenant of ['a', 'b', 'c']) weights.of(tenant);
    await tick();
    expect(['a', 'b', 'c'].map((tenant) => weights.of(tenant))).toEqual([1, 1, 4]);
    away = true;
    now = 60_000;
    weights.of('c');
    await tick();
    expect(weights.of('c')).toBe(4);
  });
});
