import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tuple, U, type Value } from '../changes/tuple.testing.ts';
import { KeyTable, NO_KEY } from './key-table.ts';

function numberOf(table: KeyTable, tenant: number, ...row: Value[]): number {
  const { bytes, start, end } = tuple(...row);
  return table.numberOf(tenant, bytes, start, end);
}

describe('KeyTable', () => {
  it('numbers keys in the order of their first sight, and knows them again', () => {
    const table = new KeyTable([0]);
    expect(['a', 'b', 'a', 'c', 'b'].map((key) => numberOf(table, 1, key, 'rest'))).toEqual([0, 1, 0, 2, 1]);
    expect(table.size).toBe(3);
  });

  it('tells tenants apart', () => {
    const table = new KeyTable([0]);
    expect([1, 2, 1].map((tenant) => numberOf(table, tenant, 'a'))).toEqual([0, 1, 0]);
  });

  it('reads the key columns alone, wherever they stand', () => {
    const table = new KeyTable([1, 3]);
    expect(numberOf(table, 0, 'x', 'a', 'x', 'b', 'x')).toBe(0);
    expect(numberOf(table, 0, U, 'a', null, 'b', U)).toBe(0);
    expect(numberOf(table, 0, 'x', 'b', 'x', 'a', 'x')).toBe(1);
  });

  it('columns do not run into each other, and null is not empty', () => {
    const table = new KeyTable([0, 1]);
    const keys: Value[][] = [
      ['ab', 'c'],
      ['a', 'bc'],
      ['abc', ''],
      ['abc', null],
      [null, 'abc'],
      ['', 'abc'],
    ];
    expect(keys.map((key) => numberOf(table, 0, ...key))).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('an unchanged key column tells no key, and leaves nothing behind', () => {
    const table = new KeyTable([0, 1]);
    expect(numberOf(table, 0, 'a', U)).toBe(NO_KEY);
    expect(table.size).toBe(0);
    expect(numberOf(table, 0, 'a', 'b')).toBe(0);
    expect(numberOf(table, 0, U, 'b')).toBe(NO_KEY);
    expect(numberOf(table, 0, 'a', 'b')).toBe(0);
  });

  it('a damaged tuple is refused, and leaves nothing behind', () => {
    const table = new KeyTable([0]);
    const { bytes, start, end } = tuple('abcdef');
    expect(() => table.numberOf(0, bytes, start, end - 1)).toThrow(/cut/);
    expect(table.size).toBe(0);
  });

  it('is a Map by tenant and key, through growth of all it keeps', () => {
    const key = fc.tuple(fc.integer({ min: 0, max: 3 }), fc.string({ maxLength: 40 }), fc.option(fc.nat(9)));
    fc.assert(
      fc.property(fc.array(key, { maxLength: 3000, size: 'max' }), (asked) => {
        const table = new KeyTable([0, 1]);
        const known = new Map<string, number>();
        for (const [tenant, text, digit] of asked) {
          const name = JSON.stringify([tenant, text, digit]);
          const number = known.get(name) ?? known.size;
          known.set(name, number);
          expect(numberOf(table, tenant, text, digit === null ? null : String(digit))).toBe(number);
        }
        expect(table.size).toBe(known.size);
      }),
      { numRuns: 40 },
    );
  });
});
