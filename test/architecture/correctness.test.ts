import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Rows of the table: number, and file and name of its test where it has one. */
const rows = readFileSync(join(ROOT, 'docs/correctness.md'), 'utf8')
  .split('\n')
  .flatMap((line) => {
    const [, number, , cell = ''] = line.split(/(?<!\\)\|/).map((part) => part.trim());
    return number === undefined || !/^\d+$/.test(number) ? [] : [{ number, cell }];
  });

test('every case of docs/correctness.md has its row', () => {
  expect(rows.map(({ number }) => Number(number))).toEqual(Array.from({ length: 72 }, (_, i) => i + 1));
});

test.each(rows)('the test of case $number exists', ({ cell }) => {
  const [, file, name] = /^`([^`]+)` > `([^`]+)`$/.exec(cell) ?? [];
  if (file === undefined || name === undefined) {
    expect(cell).not.toBe(''); // the reason why there is none
    return;
  }
  expect(existsSync(join(ROOT, file)), file).toBe(true);
  expect(readFileSync(join(ROOT, file), 'utf8')).toContain(name);
});
