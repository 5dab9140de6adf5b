import { expect, test } from 'vitest';
import { originName, slotName } from './names.ts';

test('a plain database name is kept', () => expect(slotName('app_1')).toBe('drover_app_1'));

test('changed names are told apart by a hash', () => {
  expect(slotName('app-1')).toMatch(/^drover_app_1_[0-9a-f]{8}$/);
  expect(slotName('app-1')).not.toBe(slotName('app.1'));
  expect(slotName('App')).not.toBe(slotName('app'));
});

test.each(['x', 'x'.repeat(56), 'x'.repeat(57), 'x'.repeat(63), 'ä'.repeat(31), '日本語'])(
  'the slot of %s is a name PostgreSQL allows',
  (database) => expect(slotName(database)).toMatch(/^drover_[a-z0-9_]{1,56}$/),
);

test('long names that differ at the end differ', () => {
  expect(slotName(`${'x'.repeat(60)}a`)).not.toBe(slotName(`${'x'.repeat(60)}b`));
});

test('origin', () => expect(originName('east', 3)).toBe('drover_east_3'));
