import { expect, it } from 'vitest';
import { parseTenantState, type TenantState } from '../decide/tenant-state.ts';
import { KnownTenants } from './known-tenants.ts';

const stateOf = (tenant: string): TenantState =>
  parseTenantState([tenant, '1', 'replica', 'east', 'live', '7', '1', '0/10', '0', 'S', '5']);

it('knows all that are asked for, or none', () => {
  const known = new KnownTenants();
  expect(known.of([])).toEqual(new Map());
  known.read(stateOf('a'), '100');
  expect(known.of(['a', 'b'])).toBeNull();
  known.read(stateOf('b'), '101');
  expect([...(known.of(['b', 'a'])?.keys() ?? [])]).toEqual(['b', 'a']);
  expect(known.of(['a'])?.get('a')).toEqual({ state: stateOf('a'), version: '100' });
});

it('keeps what was read, whatever becomes of it', () => {
  const known = new KnownTenants();
  const read = stateOf('a');
  known.read(read, '100');
  read.feed = 'parked';
  expect(known.of(['a'])?.get('a')?.state).toEqual(stateOf('a'));
});

it('takes over what was committed, under its version; without one, and when all is forgotten, nothing is known', () => {
  const known = new KnownTenants();
  known.read(stateOf('a'), '100');
  known.read(stateOf('b'), '100');
  const state = { ...stateOf('a'), streamSeq: 9 };
  known.wrote([state], '102');
  const seen = known.of(['a', 'b']);
  expect(seen?.get('a')).toEqual({ state, version: '102' });
  expect(seen?.get('b')?.version).toBe('100');
  known.wrote([state], undefined);
  expect(known.of(['a'])).toBeNull();
  expect(known.of(['b'])).not.toBeNull();
  known.forget();
  expect(known.of(['b'])).toBeNull();
});
