import { expect, test } from 'vitest';
import { FLAG, scanSql, splitStatements } from './sql-scan.ts';

const scan = (sql: string): number => {
  const bytes = Buffer.from(sql);
  return scanSql(bytes, 0, bytes.length);
};

test.each([
  'SELECT 1',
  "SELECT 'SET x = 1; LISTEN y'",
  "SELECT E'\\'; SET x = 1; --'",
  'SELECT $$; SET x$$, $a$ $$ ; DO $a$',
  '/* SET /* nested */ ; SET x = 1 */ SELECT 1 -- ; LISTEN z',
  'SELECT "set_config_x", temp, hold FROM temp WHERE a = $1',
  'UPDATE t SET a = 1',
  'BEGIN; INSERT INTO t VALUES (1); COMMIT',
  'SELECT pg_advisory_xact_lock(1), pg_advisory_unlock(1)',
  'WITH set AS (SELECT 1) SELECT * FROM set',
  'SELECT 1e5, 1_000, a$b FROM t',
])('nothing of interest: %s', (sql) => {
  expect(scan(sql)).toBe(0);
});

test.each<[string, number]>([
  ['SET x = 1', FLAG.effects],
  [' \n/* c */ set x = 1', FLAG.effects],
  ['SELECT 1; reset all', FLAG.effects],
  ['DISCARD ALL', FLAG.effects],
  ['DEALLOCATE x', FLAG.effects],
  ['PREPARE x AS SELECT 1', FLAG.effects],
  ['LISTEN x', FLAG.listen],
  ['CREATE TEMP TABLE x (a int)', FLAG.temp],
  ['create local temporary view v as select 1', FLAG.temp],
  ['SELECT 1 INTO TEMP x', FLAG.temp],
  ['CREATE TABLE pg_temp.x (a int)', FLAG.temp],
  ['SELECT pg_advisory_lock(1)', FLAG.advisory],
  ['SELECT pg_catalog.pg_try_advisory_lock_shared(1)', FLAG.advisory],
  ['SELECT "pg_advisory_lock"(1)', FLAG.advisory],
  ['DECLARE c CURSOR WITH HOLD FOR SELECT 1', FLAG.hold],
  ["SELECT set_config('a.b', $1, false)", FLAG.setConfigAny | FLAG.setConfig],
  ["SELECT set_config('a.b', 'x', true)", FLAG.setConfigAny],
  ["SELECT SET_CONFIG ( 'a.b' , $1 , TRUE )", FLAG.setConfigAny],
  ["SELECT set_config('a.b', 'x', $1)", FLAG.setConfigAny | FLAG.setConfig],
  ['CALL p()', FLAG.call],
  ['DO $$ BEGIN END $$', FLAG.anonymous],
  ['SELECT * FROM pg_prepared_statements', FLAG.forbidden],
  ["SELECT 'a\\'; SET x = 1 --'", FLAG.effects],
])('%s', (sql, flags) => {
  expect(scan(sql)).toBe(flags);
});

test('unterminated text never runs past the end', () => {
  for (const sql of ["'", "E'\\", '"', '$$', '$a', '/*', '--', "E'a", '$a$ $a', "U&'x"]) {
    const bytes = Buffer.concat([Buffer.from(sql), Buffer.from('SET\'"$$*/')]);
    expect(() => scanSql(bytes, 0, sql.length)).not.toThrow();
  }
});

test('statements are split at top-level semicolons', () => {
  const bytes = Buffer.from("SELECT ';' ; SELECT $$;$$;-- ;\n SET x");
  expect(splitStatements(bytes).map(({ start, end }) => bytes.toString('utf8', start, end))).toEqual([
    "SELECT ';' ",
    ' SELECT $$;$$',
    '-- ;\n SET x',
  ]);
});
