/** Rows as PostgreSQL sends them: forms taken from numeric_send, uuid_send and timestamptz_send. */
import { describe, expect, it } from 'vitest';
import { numericSend, RowWriter } from './row.ts';
import { open, TABLES } from './tables/all.ts';

describe('numericSend', () => {
  it.each([
    [150, 2, '0002 0000 0000 0002 0001 1388'],
    [0, 2, '0000 0000 0000 0002'],
    [-5, 2, '0001 ffff 4000 0002 01f4'],
    [1_000_000, 2, '0001 0001 0000 0002 0001'],
    [12_345_678, 0, '0002 0001 0000 0000 04d2 162e'],
  ])('%d / 10^%d', (scaled, scale, hex) => {
    expect(numericSend(scaled, scale).toString('hex')).toBe(hex.replaceAll(' ', ''));
  });
});

describe('RowWriter', () => {
  it('counts what the same row takes as text', () => {
    const row = new RowWriter();
    const bytesOf = (write: () => void): number => {
      row.start();
      write();
      return row.textBytes - 2 - 5;
    };
    expect(bytesOf(() => row.int8(-12))).toBe('-12'.length);
    expect(bytesOf(() => row.timestamptz(820_000_000_100_000))).toBe('2025-12-25 17:46:40.1+00'.length);
    expect(bytesOf(() => row.numeric(150, 2))).toBe('1.50'.length);
    expect(bytesOf(() => row.jsonb('{"a": "ü"}'))).toBe(Buffer.byteLength('{"a": "ü"}'));
  });
});

describe('tables', () => {
  it.each(TABLES.map((table) => [table.name, table] as const))('%s is the same each time', (_name, table) => {
    const [once, again] = [open(table), open(table)];
    for (let block = 0; block < 2; block++) {
      const [a, b] = [once.block(50), again.block(50)];
      expect(a.raw.equals(b.raw) && a.rowBinary.equals(b.rowBinary)).toBe(true);
      expect(a.textBytes).toBe(b.textBytes);
    }
  });
});
