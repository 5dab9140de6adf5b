import { expect, test } from 'vitest';
import { Splice } from './splice.ts';

const text = (bytes: Buffer | null): string | undefined => bytes?.toString();

test('what is not touched is passed on as it is, without a copy', () => {
  const splice = new Splice();
  const source = Buffer.from('abcdef');
  splice.begin(source);
  expect(splice.finish(6)).toBe(source);
  splice.begin(source);
  expect(text(splice.finish(2))).toBe('ab');
});

test('pieces are left out and put in, in order', () => {
  const splice = new Splice();
  splice.begin(Buffer.from('abcdef'));
  splice.drop(0, 1);
  splice.put(2, 2, Buffer.from('-'));
  splice.put(3, 5, Buffer.from('+'));
  expect(text(splice.finish(6))).toBe('b-c+f');
  splice.begin(Buffer.from('xyz'));
  splice.drop(0, 3);
  expect(splice.finish(3)).toBeNull();
  splice.begin(Buffer.from('xyz'));
  expect(text(splice.finish(3))).toBe('xyz');
});
