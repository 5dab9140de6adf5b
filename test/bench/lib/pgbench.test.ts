import { describe, expect, it } from 'vitest';
import { parseLog, parsePgbench } from './pgbench.ts';

const OUTPUT = `pgbench (15.13)
transaction type: <builtin: select only>
number of transactions actually processed: 123456
number of failed transactions: 2 (0.002%)
latency average = 1.250 ms
initial connection time = 40.1 ms
tps = 15855.123456 (without initial connection time)
`;

describe('parsePgbench', () => {
  it('reads the rate and the counts', () => {
    expect(parsePgbench(OUTPUT)).toEqual({ tps: 15855.123456, transactions: 123456, failed: 2 });
  });
  it('shows what pgbench said when it is no result', () => {
    expect(() => parsePgbench('pgbench: error: connection refused')).toThrow(/connection refused/);
  });
});

describe('parseLog', () => {
  it('takes the third column, microseconds', () => {
    expect(parseLog('0 1 1500 0 1700000000 12\n1 1 250 0 1700000000 13\n')).toEqual([1.5, 0.25]);
  });
});
