import type { Tenant } from '@drover/catalog';
import { tenantId } from '@drover/core';
import { expect, test } from 'vitest';
import { identify } from './identity.ts';

const tenants = new Map(
  (
    [
      ['acme', ['app']],
      ['a.b', ['app']],
      ['john', ['doe']],
      ['shop', ['john.doe', 'app']],
    ] as const
  ).map(([name, users]) => [
    name as string,
    {
      tenant: tenantId(name),
      isolation: 'column',
      tier: 'standard',
      users: Object.fromEntries(users.map((user) => [user, { verifier: `${name}/${user}` }])),
      state: 'active',
      createdAt: '',
    } satisfies Tenant,
  ]),
);
const who = (user: string, database: string) => {
  const found = identify(user, database, (name) => tenants.get(name));
  return found.kind === 'found' ? found.identity.verifier : found.kind;
};

test('by the last dot of the user name, or by the database', () => {
  expect(who('acme.app', 'acme.app')).toBe('acme/app');
  expect(who('acme.app', 'anything')).toBe('acme/app');
  expect(who('a.b.app', 'x')).toBe('a.b/app');
  expect(who('app', 'acme')).toBe('acme/app');
  expect(who('acme.app', 'acme')).toBe('acme/app');
});

test('unknown tenants and users are the same', () => {
  for (const [user, database] of [
    ['acme.nobody', 'x'],
    ['nowhere.app', 'x'],
    ['app', 'x'],
    ['.app', 'x'],
    ['acme.constructor', 'x'],
    ['app', 'app'],
  ]) {
    expect(who(user ?? '', database ?? '')).toBe('unknown');
  }
});

test('two answers that differ are a conflict', () => {
  expect(who('john.doe', 'shop')).toBe('conflict');
  expect(who('john.doe', 'x')).toBe('john/doe');
});
