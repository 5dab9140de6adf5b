import { expect, test } from 'vitest';
import { quoteIdent, quoteLiteral, quoteTable } from './quote.ts';

test.each([
  ['plain', '"plain"'],
  ['Select', '"Select"'],
  ['a"b', '"a""b"'],
  ['a b;--', '"a b;--"'],
])('identifier %s', (name, quoted) => expect(quoteIdent(name)).toBe(quoted));

test.each([
  ['plain', "'plain'"],
  ["o'clock", "'o''clock'"],
  ['c:\\dir', " E'c:\\\\dir'"],
  ["\\'; drop", " E'\\\\''; drop'"],
  ['', "''"],
])('literal %s', (text, quoted) => expect(quoteLiteral(text)).toBe(quoted));

test('a table is quoted part by part', () => expect(quoteTable('s.x', 't')).toBe('"s.x"."t"'));

test('NUL and the empty name are refused', () => {
  expect(() => quoteIdent('a\0b')).toThrow();
  expect(() => quoteIdent('')).toThrow();
  expect(() => quoteLiteral('a\0b')).toThrow();
});
