import { expect, test } from 'vitest';
import { Settings, startupSettings } from './settings.ts';
import { judgeSql, type Verdict } from './statement-effects.ts';

const context = {
  hasStatement: (name: string) => name === 'mine',
  startupSetting: (key: string) =>
    key === 'timezone' ? "SELECT pg_catalog.set_config('TimeZone', 'UTC', false)" : undefined,
};
const judge = (sql: string): Verdict | null => judgeSql(Buffer.from(sql), context);

test.each([
  ["SET TimeZone = 'UTC'", 'timezone', "SET TimeZone = 'UTC'"],
  ['SET SESSION a.b TO 1', 'a.b', 'SET a.b TO 1'],
  ['set time zone 5;', 'timezone', 'SET time zone 5'],
  ['SET "Search_Path" TO a, "B"', 'Search_Path', 'SET "Search_Path" TO a, "B"'],
  ["SET SCHEMA 'x'", 'search_path', "SET SCHEMA 'x'"],
  ['/* c */ SET x /* d */ = 1', 'x', 'SET x   = 1'],
])('%s is recorded', (sql, key, replay) => {
  expect(judge(sql)).toMatchObject({ effects: [{ kind: 'set', key, sql: replay }], pins: [] });
});

test.each([
  'SET drover.context = 1',
  'SET "drover".context = 1',
  'SET LOCAL drover.context = 1',
  'SET ROLE x',
  'SET LOCAL ROLE x',
  'SET role = x',
  'SET SESSION AUTHORIZATION x',
  'SET session_authorization = x',
  'SET standard_conforming_strings TO off',
  "SET NAMES 'SJIS'",
  'SET client_encoding = LATIN1',
  'SET row_security = 0',
  'RESET drover.context',
  "SELECT set_config('role', 'x', true)",
  'SELECT 1; SET drover.context = 1',
  'PREPARE TRANSACTION $$x$$',
])('%s is refused', (sql) => {
  expect(judge(sql)?.refusal).toBeDefined();
});

test.each([
  "SET client_encoding = 'UTF8'",
  'SET NAMES utf8',
  'SET standard_conforming_strings = on',
  'SET ROLE NONE',
  'RESET ROLE',
  'SET TRANSACTION READ ONLY',
  'SET LOCAL x = 1',
  'SET CONSTRAINTS ALL DEFERRED',
  'DISCARD PLANS',
])('%s passes', (sql) => {
  expect(judge(sql)).toEqual({ effects: [], pins: [], dirty: false, taints: false });
});

test('what cannot be replayed pins', () => {
  expect(judge('SET x FROM CURRENT')?.pins).toEqual(['set']);
  expect(judge('SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY')?.pins).toEqual(['set']);
  expect(judge('SET x = 1; SELECT 1')?.pins).toEqual(['set']);
  expect(judge('PREPARE x AS SELECT 1')?.pins).toEqual(['prepare']);
});

test('what would end the context is replaced', () => {
  expect(judge('SELECT 1; RESET ALL; UNLISTEN *')).toMatchObject({
    sql: 'SELECT 1;RESET drover.nothing; UNLISTEN *',
    effects: [{ kind: 'resetAll' }],
  });
  expect(judge('DISCARD ALL')).toMatchObject({
    sql: 'RESET drover.nothing',
    effects: [{ kind: 'discardAll' }],
  });
  expect(judge('DISCARD SEQUENCES')).toMatchObject({ sql: 'RESET drover.nothing' });
  expect(judge('DEALLOCATE PREPARE "mine"')).toMatchObject({
    sql: 'RESET drover.nothing',
    effects: [{ kind: 'deallocate', name: 'mine' }],
  });
  expect(judge('DEALLOCATE other')).toMatchObject({ effects: [] });
  expect(judge('DEALLOCATE _drover_1')).toMatchObject({ sql: 'RESET drover.nothing' });
  expect(judge('RESET TimeZone')).toMatchObject({
    sql: "SELECT pg_catalog.set_config('TimeZone', 'UTC', false)",
  });
});

test('settings: what was set, what was asked for at login, what is left after a reset', () => {
  const startup = startupSettings(
    new Map([
      ['application_name', "it's"],
      ['options', '-c statement_timeout=3s'],
      ['client_encoding', 'UTF8'],
    ]),
  );
  if (startup.kind !== 'settings') throw new Error(startup.message);
  const settings = new Settings(startup.settings);
  const initial = settings.signature;
  expect(initial).toBe(
    "SELECT pg_catalog.set_config('statement_timeout', '3s', false);SELECT pg_catalog.set_config('application_name', 'it''s', false)",
  );
  settings.apply({ kind: 'set', key: 'statement_timeout', sql: 'SET statement_timeout = 1' });
  settings.apply({ kind: 'set', key: 'x.y', sql: 'SET x.y = 2' });
  expect(settings.signature).toContain('SET statement_timeout = 1;SET x.y = 2');
  settings.apply({ kind: 'reset', key: 'statement_timeout' });
  settings.apply({ kind: 'reset', key: 'x.y' });
  expect(settings.signature.split(';').sort()).toEqual(initial.split(';').sort());
  settings.apply({ kind: 'resetAll' });
  expect(settings.signature).toBe(initial);
});

test('startup parameters outside the list are refused', () => {
  for (const [name, value] of [
    ['role', 'x'],
    ['session_replication_role', 'replica'],
    ['options', '-c drover.context=x'],
    ['options', '-d 5'],
    ['client_encoding', 'SJIS'],
  ] as const) {
    expect(startupSettings(new Map([[name, value]])).kind, name).toBe('refused');
  }
});
