/**
 * Types that do not come with PostgreSQL itself: of the extensions that come with it, and of the installation's own (edge values of the built-in
 * ones: edge-values.ts). The matrix fails when an extension has a type that is neither here nor in {@link WITHOUT_VALUES}.
 */

export interface TypeCase {
  /** As a column is declared. */
  readonly type: string;
  /** SQL expressions of the type. */
  readonly values: readonly string[];
  /** The type has no binary form: arrays of it can only be sent where everything is sent as text. */
  readonly text?: true;
}

const of = (type: string, ...values: string[]): TypeCase => ({
  type,
  values: values.map((value) => `'${value.replaceAll("'", "''")}'`),
});
const expressions = (type: string, ...values: string[]): TypeCase => ({ type, values });
const text = (made: TypeCase): TypeCase => ({ ...made, text: true });

const LONG = 'repeat(md5(random()::text), 300)';
const LABEL = 'x'.repeat(63);

export const EXTENSIONS = [
  'citext',
  'hstore',
  'ltree',
  'cube',
  'seg',
  'isn',
  'intarray',
  'lo',
  'earthdistance',
  'btree_gist',
  'pg_trgm',
];

/** Made at both, after other types at one of the two: they are other numbers there. */
export const MADE_TYPES = `
CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s "fine", {really}', '${LABEL}');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN over AS positive CHECK (VALUE < 1000000);
CREATE DOMAIN ints AS int[] CHECK (array_length(VALUE, 1) IS NULL OR array_length(VALUE, 1) < 10);
CREATE DOMAIN nocase AS citext;
CREATE DOMAIN weight AS seg;
CREATE TYPE address AS (street text, no int, at timestamptz);
CREATE TYPE person AS (name citext, home address, moods mood[], tags hstore);
CREATE DOMAIN homes AS address CHECK ((VALUE).no IS NULL OR (VALUE).no > 0);
CREATE TYPE textrange AS RANGE (subtype = text, collation = "C");
CREATE TYPE moodrange AS RANGE (subtype = mood);
CREATE TYPE floatrange AS RANGE (subtype = float8);`;

export const TYPES: readonly TypeCase[] = [
  of('citext', '', 'A', 'a', 'É'),
  expressions(
    'hstore',
    `''`,
    `'a=>1, b=>NULL, ""=>"NULL"'`,
    `hstore('k"=>', 'v,\\')`,
    `hstore('k', ${LONG})`,
  ),
  of('ltree', '', 'Top.Science.Astronomy', 'a'),
  of('lquery', '*.a{1,2}.b|c@*', '*'),
  of('ltxtquery', 'a & b@* | !c', 'x'),
  of('cube', '(1,2),(3,4)', '(0)', '(-1e-300,1e300)', '()'),
  expressions('earth', 'll_to_earth(1, 2)', 'll_to_earth(-90, 180)'),
  text(of('seg', '1', '1.00 .. 2.0', '<5', '~6.5', '1(+-)0.1')),
  text(of('weight', '1', '1.0', '2 .. 3')),
  text(of('ean13', '978-0-393-04002-9', '220-500-896-764-7')),
  text(of('isbn', '0-393-04002-X')),
  text(of('isbn13', '978-0-393-04002-9')),
  text(of('ismn', 'M-060-11561-5')),
  text(of('ismn13', '979-0-060-11561-5')),
  text(of('issn', '1436-4522')),
  text(of('issn13', '977-1436-452-00-8')),
  text(of('upc', '220500896761')),
  text(of('query_int', '1&2', '!3|(4&5)')),
  of('lo', '0', '4294967295'),
  of('mood', 'sad', `it's "fine", {really}`, LABEL),
  of('positive', '1', '2147483647'),
  of('over', '1', '999999'),
  of('ints', '{}', '{1,NULL,3}', '[0:2]={1,2,3}'),
  of('nocase', 'A', 'a', ''),
  expressions(
    'address',
    `'("1, Main ""St""",,)'`,
    `'(,,)'`,
    `ROW('', 2147483647, 'infinity')::address`,
    `ROW(E'a\\nb\\\\c', NULL, '2026-03-29 01:30:00+00')::address`,
  ),
  expressions(
    'person',
    `'(,,,)'`,
    `ROW('A', ROW('x', 1, '-infinity')::address, ARRAY['sad', NULL, 'ok']::mood[], 'a=>b')::person`,
    `ROW('', '(,,)'::address, '{}'::mood[], '')::person`,
  ),
  expressions('homes', `'(,,)'`, `ROW('x', 5, NULL)::address`),
  of('textrange', 'empty', '(,)', '["a, b","c\\"d")'),
  of('moodrange', 'empty', '[sad,ok]', '(sad,)'),
  of('floatrange', 'empty', '[-0,NaN]', '(-Infinity,5e-324)'),
  of('textmultirange', '{}', '{[a,b),[c,d]}'),
  of('moodmultirange', '{}', '{[sad,sad]}'),
  of('floatmultirange', '{}', '{[1,2],(3,NaN]}'),
];

/** Types no column can have. */
export const WITHOUT_VALUES: readonly string[] = [
  ...['ghstore', 'gtrgm', 'ltree_gist', 'intbig_gkey', 'gbtreekey2', 'gbtreekey4', 'gbtreekey8'],
  ...['gbtreekey16', 'gbtreekey32', 'gbtreekey_var'], // inner pages of indexes
];

/** Expressions for an array of the type: empty, with NULL, of two dimensions, with bounds of its own. */
export function arrayValues({ type, values }: TypeCase): string[] {
  const [a = 'NULL', b = a] = values;
  const v = (value: string): string => `(${value})::${type}`;
  return [
    `'{}'`,
    `ARRAY[${values.map(v).join(', ')}, NULL]::${type}[]`,
    `ARRAY[NULL, NULL]::${type}[]`,
    `ARRAY[[${v(a)}, ${v(b)}], [${v(b)}, NULL]]::${type}[]`,
    `('[5:6]=' || ARRAY[${v(a)}, NULL]::${type}[]::text)::${type}[]`,
  ];
}
