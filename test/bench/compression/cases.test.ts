/** What a gate lets pass. */
import { describe, expect, it } from 'vitest';
import { gateOf, passes, toCase } from './cases.ts';

const figure = { case: 'c', metric: 'm', unit: 'x', drover: 2.99996, peer: 1.5, peerName: 'p' };

describe('gates', () => {
  it('judge the figure itself, not the rounded one', () => {
    const made = toCase({ ...figure, gate: { atLeast: 3 } });
    expect(made).toMatchObject({ drover: 3, ratio: 2, pass: false });
  });

  it('bounds are met from both sides', () => {
    expect(passes({ atLeast: 3 }, 3)).toBe(true);
    expect(passes({ atMost: 3 }, 3)).toBe(true);
    expect(passes({ atMost: 3 }, 3.01)).toBe(false);
    expect(passes({ atLeast: 1, atMost: 3 }, 0.5)).toBe(false);
  });

  it('a case without a gate is not judged', () => {
    expect(toCase({ ...figure, gate: gateOf(undefined) })).not.toHaveProperty('pass');
  });
});
