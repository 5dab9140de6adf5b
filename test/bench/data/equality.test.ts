import type pg from 'pg';
import { describe, expect, it } from 'vitest';
import { mustBeEqual } from './equality.ts';

/** A connection to a database whose tables have these sums. */
function holding(sums: Readonly<Record<string, string>>): pg.Client {
  const query = async (text: string) => ({ rows: [{ sum: sums[/FROM "(\w+)"/.exec(text)?.[1] ?? ''] }] });
  return { query } as unknown as pg.Client;
}

describe('mustBeEqual', () => {
  const source = holding({ a: '2 rows, 7', b: '1 rows, 5' });

  it('passes when every replica holds what the source holds', async () => {
    const replicas = [{ name: 'drover', replica: holding({ a: '2 rows, 7', b: '1 rows, 5' }) }];
    await expect(mustBeEqual(source, replicas, ['a', 'b'])).resolves.toBeUndefined();
  });

  it.each([
    ['a row too few', { a: '2 rows, 7', b: '0 rows, 0' }],
    ['as many rows, but others', { a: '2 rows, 7', b: '1 rows, 6' }],
  ])('names the replica and the table: %s', async (_, sums) => {
    const replicas = [
      { name: 'drover', replica: holding({ a: '2 rows, 7', b: '1 rows, 5' }) },
      { name: 'native', replica: holding(sums) },
    ];
    await expect(mustBeEqual(source, replicas, ['a', 'b'])).rejects.toThrow(/native's replica of table b/);
  });
});
