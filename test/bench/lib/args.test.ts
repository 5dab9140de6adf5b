import { describe, expect, it } from 'vitest';
import { BENCHES, CASES, parseFlags, readerSections } from './args.ts';

describe('parseFlags', () => {
  it('measures everything when nothing is said', () => {
    expect(parseFlags([])).toMatchObject({
      benches: BENCHES,
      cases: CASES,
      rounds: 3,
      rows: 1_000_000,
      rates: [500, 2000],
    });
  });
  it('makes --quick short, and lets flags overrule it', () => {
    expect(parseFlags(['--quick'])).toMatchObject({ rounds: 1, rows: 100_000 });
    expect(parseFlags(['--quick', '--rounds', '5'])).toMatchObject({ rounds: 5, rows: 100_000 });
  });
  it('takes lists in the order of the benchmark', () => {
    expect(parseFlags(['--only', 'proxy,data', '--cases', 'hot,big'])).toMatchObject({
      benches: ['data', 'proxy'],
      cases: ['big', 'hot'],
    });
  });
  it('sets the reader up as it says', () => {
    expect(readerSections(parseFlags([]))).toEqual({});
    expect(readerSections(parseFlags(['--stream-above', '8MiB']))).toEqual({
      cdc: { stream_above_bytes: '8MiB' },
    });
  });
  it.each([
    [['--cases', 'huge'], /"huge"; there are big/],
    [['--rounds', '0'], /--rounds/],
    [['--rows', '12345'], /multiple/],
    [['--rates', '500,fast'], /"fast"/],
    [['--nonsense'], /nonsense/],
  ])('refuses %j', (args, message) => expect(() => parseFlags(args)).toThrow(message));
});
