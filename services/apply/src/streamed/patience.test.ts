import { expect, it } from 'vitest';
import { patienceMs } from './patience.ts';

const MiB = 1024 * 1024;

it.each([
  ['of one tenant, nearly done', 4, 2 * MiB, 1, 70],
  ['of one tenant, far from done: its lane waits, nobody else', 5, 2 * MiB, 1, 0],
  ['of one tenant, many small parts', 30, 100_000, 1, 70],
  [
    'of a thousand tenants, of which much is left: it is done before they are handed over',
    1000,
    8 * MiB,
    1000,
    5000,
  ],
  ['of a hundred tenants, likewise', 300, 8 * MiB, 100, 2050],
  ['of a thousand tenants, too much left for anybody to wait', 4000, 64 * MiB, 1000, 0],
  ['of nobody: all that is left are the rows of tenants that are not live', 0, 0, 0, 50],
])('%s', (_, parts, bytes, tenants, ms) => {
  expect(patienceMs({ parts, bytes }, tenants)).toBe(ms);
});
