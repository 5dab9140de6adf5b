import { describe, expect, it } from 'vitest';
import { describeFault } from './fault.ts';
import { LENGTH_MAX, parseExpression } from './parse.ts';

const told = (text: string) => {
  const parsed = parseExpression(text);
  return parsed.ok ? 'taken' : describeFault(text, parsed.fault);
};

describe('a filter', () => {
  it.each([
    "status = 'active'",
    'a <> 1 AND NOT (b OR c IS NULL)',
    "\"Odd Name\" IN ('x', 'it''s')",
    'n=-1 or n<-1 or 1.5e-3<=n',
    "born >= DATE '2020-01-01' AND at < TIMESTAMP '2020-01-01 00:00'",
    "name NOT LIKE '%x' AND id NOT IN (1, 2)",
    '(a = 1) IS NOT TRUE',
    "date = DATE '2020-01-01'",
  ])('takes %s', (text) => {
    expect(told(text)).toBe('taken');
  });

  it.each([
    ['', /was expected \(at its end\)/],
    ["lower(name) = 'x'", /functions cannot be called/],
    ["name::text = 'x'", /no place/],
    ['a + 1 = 2', /no place|expected/],
    ['a = (SELECT 1)', /expected/],
    ["a = 'x'; DROP TABLE t", /no place/],
    ['a = 1 -- x', /no place/],
    ['a = 1 /* x */', /no place/],
    ["a = E'\\n'", /quoted/],
    ["a = U&'x'", /prefix/],
    ['a = $1', /no place/],
    ["a = 'open", /not closed/],
    ['a = NULL', /write IS NULL/],
    ['a = 1 = 2', /parentheses/],
    ['a = 1 IS NULL', /parentheses/],
    ['a !=-1', /operator/],
    ['a ~ 1', /no place/],
    ["current_user = 'x'", /expected/],
    ['a = 12abc', /decimal/],
    ['a = 0x1F', /decimal/],
    ['a LIKE 1', /LIKE needs a text/],
    ['a IN ()', /expected/],
    ['name.first = 1', /no place/],
    ['größe = 1', /quoted/],
    ['a = 1 AND', /expected/],
    ['(a = 1', /"\)" was expected/],
    [`${'('.repeat(40)}a${')'.repeat(40)}`, /nested more than 32/],
    [`${'NOT '.repeat(40)}a`, /nested more than 32/],
    [Array.from({ length: 300 }, () => 'a').join(' OR '), /more than 256 parts/],
    [`a IN (${Array.from({ length: 101 }, () => '1').join()})`, /more than 100 values/],
    ['a'.repeat(LENGTH_MAX + 1), /longer than 4096/],
    ['a'.repeat(64), /63 bytes/],
    ["a = '\0'", /NUL/],
  ])('refuses %j', (text, expected) => {
    expect(told(text)).toMatch(expected);
  });
});
