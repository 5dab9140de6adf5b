/**
 * Values at the edges of every type, as PostgreSQL reads them. The matrix puts each of them into a column, an array, a range where there is one,
 * and where they can be compared into a key. A type that PostgreSQL has and this page does not know fails the matrix.
 */

/** More digits, bytes or elements than a page holds: stored out of line. */
const LONG = Array.from({ length: 3000 }, (_, i) => ((i * 7919) % 65_521).toString(36)).join('');

const INTEGERS = ['0', '1', '-1'];
const DATES = [
  '2000-01-01',
  '1999-12-31',
  '4713-11-24 BC',
  '5874897-12-31',
  '0001-01-01',
  '1582-10-15',
  'infinity',
  '-infinity',
];
const MOMENTS = [
  ...[
    '2000-01-01 00:00:00',
    '1999-12-31 23:59:59.999999',
    '4713-01-01 00:00:00 BC',
    '294276-12-31 23:59:59.999999',
  ],
  ...[
    '2024-02-29 12:00:00.1',
    '2024-02-29 12:00:00.000001',
    '10000-01-01 00:00:00',
    '0001-12-31 00:00:00 BC',
    'infinity',
    '-infinity',
  ],
];
const TEXTS = [
  '',
  ' ',
  'a',
  'A',
  'NULL',
  '\\',
  "it''s ".replace("''", "'"),
  '"quoted", {braced}',
  '\t\n\r',
  '\u0001',
  'é',
  'e\u0301',
  '\uFEFFbom',
  '😀',
  '٣',
  LONG,
];
const JSONS = [
  ...[
    'null',
    'true',
    '0',
    '-0',
    '-0.0',
    '1.00',
    '1e-3',
    '""',
    '{}',
    '[]',
    '"\\u00e9\\n\\"\\/"',
    '"\\ud83d\\ude00"',
    '[1, [2, [3, []]], {"a": null}]',
  ],
  ...[
    '{"b": 1, "a": 2, "aa": 3, "": {"__proto__": [], "x.y": "[0]"}}',
    '9007199254740993',
    '123456789012345678901234567890.5',
    '{"a": 1, "a": 2}',
  ],
  `${'['.repeat(900)}${']'.repeat(900)}`,
  `{"long": "${LONG}"}`,
];
const TS_VECTORS = ['', 'a', "'it''s' b:1A,2B c:16383", "'a\\\\b' 'ä'"];
const SNAPSHOTS = ['1:1:', '10:20:10,14,15', '4294967300:4294967310:4294967301,4294967309'];

export const EDGE_VALUES: Readonly<Record<string, readonly string[]>> = {
  aclitem: ['=r/postgres', 'postgres=arwdDxt/postgres', 'postgres=r*w/postgres'],
  bit: ['0', '1'],
  bool: ['true', 'false'],
  box: ['(1,2),(-3,-4)', '(-0,0),(-0,0)', '(1e300,Infinity),(-1e300,-Infinity)', '(NaN,1),(2,3)'],
  bpchar: ['', ' ', 'a', 'a  ', 'ä', 'padded      '],
  bytea: ['\\x', '\\x00', '\\xff', '\\x5c', '\\x00ff005c27', `\\x${'c0ffee'.repeat(4000)}`],
  char: ['', 'a', ' ', '\\377', '\\200', '\\\\'],
  cid: ['0', '4294967295'],
  cidr: ['10.0.0.0/8', '0.0.0.0/0', '::/0', '255.255.255.255/32', '2001:db8::/32', '::ffff:1.2.3.4/128'],
  circle: ['<(0,0),0>', '<(-0,1e300),5e-324>', '<(1,2),Infinity>'],
  date: DATES,
  float4: [
    '0',
    '-0',
    '1.4e-45',
    '3.4028235e38',
    '-3.4028235e38',
    '3.3',
    '0.1',
    '16777217',
    'NaN',
    'Infinity',
    '-Infinity',
  ],
  float8: [
    ...[
      '0',
      '-0',
      '5e-324',
      '2.2250738585072014e-308',
      '1.7976931348623157e308',
      '0.1',
      '0.30000000000000004',
      '1e22',
      '1e23',
      '9007199254740993',
    ],
    ...['123456789.12345678', '3.3', 'NaN', 'Infinity', '-Infinity'],
  ],
  inet: ['0.0.0.0', '10.1.2.3/8', '::1/64', '::ffff:1.2.3.4', '255.255.255.255', '2001:db8::1/127'],
  int2: [...INTEGERS, '32767', '-32768'],
  int2vector: ['', '1', '1 2 -3'],
  int4: [...INTEGERS, '2147483647', '-2147483648', '65536'],
  int8: [
    ...INTEGERS,
    '9223372036854775807',
    '-9223372036854775808',
    '4294967296',
    '9007199254740993',
    '2147483648',
  ],
  interval: [
    ...[
      '0',
      '1 mon',
      '30 days',
      '720:00:00',
      '-1 mon +1 day -00:00:00.000001',
      '-178000000 years',
      '178000000 years',
      '2562047788:00:54.775807',
    ],
    ...['1 year 2 mons 3 days 04:05:06.7', '-00:00:00.1'],
  ],
  json: [...JSONS, ' { "b" :1,\n\t"a": 2 } ', '"\\u0000"', '"\\ud83d"', '1E400'],
  jsonb: [...JSONS, '1E400', '-1e-400'],
  jsonpath: [
    '$',
    'strict $."a b"[*] ? (@.x > 1 && exists (@.y))',
    '$.**{1 to last}.keyvalue()',
    '$.datetime("HH24:MI")',
  ],
  line: ['{1,2,3}', '{-0,1,1e300}'],
  lseg: ['[(1,2),(3,4)]', '[(-0,0),(1e-300,NaN)]'],
  macaddr: ['00:00:00:00:00:00', 'ff:ff:ff:ff:ff:ff', '08:00:2b:01:02:03'],
  macaddr8: ['00:00:00:00:00:00:00:00', 'ff:ff:ff:ff:ff:ff:ff:ff', '08:00:2b:01:02:03:04:05'],
  money: ['0', '-1.00', '92233720368547758.07', '-92233720368547758.08', '1234.5'],
  name: ['', 'a', 'UPPER case "quoted"', 'x'.repeat(63), 'ä'.repeat(31)],
  numeric: [
    ...[
      '0',
      '0.00',
      '-0.00',
      '100',
      '100.00',
      '1.000000000000000000000000000000',
      '1e131071',
      '-1e131071',
      '1e-16383',
      '0.1',
      '12345678901234567890.123456789',
    ],
    ...['9999', '10000', '0.0001', '0.00010000', 'NaN', 'Infinity', '-Infinity'],
  ],
  oid: ['0', '1', '4294967295'],
  oidvector: ['', '1', '1 2 4294967295'],
  path: ['[(0,0)]', '((1,2),(3,4))', '[(-0,1e300),(NaN,Infinity)]'],
  pg_lsn: ['0/0', 'FFFFFFFF/FFFFFFFF', '1/0', '0/FFFFFFFF'],
  pg_snapshot: SNAPSHOTS,
  point: ['(0,0)', '(-0,1e300)', '(5e-324,NaN)', '(Infinity,-Infinity)'],
  polygon: ['((0,0))', '((1,2),(3,4),(-0,5e-324))'],
  refcursor: ['', 'cursor "1"'],
  regclass: ['-', 'pg_class', 'pg_catalog.pg_statistic'],
  regcollation: ['-', '"C"', '"POSIX"'],
  regconfig: ['-', 'simple', 'english'],
  regdatabase: ['-', 'template1'],
  regdictionary: ['-', 'simple', 'english_stem'],
  regnamespace: ['-', 'pg_catalog', 'pg_toast'],
  regoper: ['0', '||/'],
  regoperator: ['0', '+(integer,integer)', '!!(NONE,tsquery)'],
  regproc: ['-', 'now', 'int4in'],
  regprocedure: ['-', 'abs(numeric)', 'now()'],
  regrole: ['-', 'postgres', 'pg_read_all_data'],
  regtype: ['-', 'integer', 'timestamp with time zone[]'],
  text: TEXTS,
  tid: ['(0,0)', '(4294967295,65535)', '(1,2)'],
  time: ['00:00:00', '24:00:00', '23:59:59.999999', '12:00:00.1', '00:00:00.000001'],
  timestamp: MOMENTS,
  timestamptz: [
    ...MOMENTS.map((m) => (m.endsWith('infinity') ? m : m.replace(/( BC)?$/, '+00$1'))),
    '2024-03-10 02:30:00-05:30',
  ],
  timetz: ['00:00:00+00', '24:00:00-15:59:59', '23:59:59.999999+15:59:59', '12:00:00.1+05:30', '12:30:00+06'],
  tsquery: ['', 'a', "'it''s' & !b <-> c:*AB | 'ä'", 'a <16384> b'],
  tsvector: TS_VECTORS,
  txid_snapshot: SNAPSHOTS,
  uuid: [
    '00000000-0000-0000-0000-000000000000',
    'ffffffff-ffff-ffff-ffff-ffffffffffff',
    '{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}',
    '01890a5d-ac96-774b-bcce-b302099a8057',
  ],
  varbit: ['', '0', '111111111', '10101010', '1'.repeat(1000)],
  varchar: TEXTS,
  xid: ['0', '3', '4294967295'],
  xid8: ['0', '18446744073709551615', '4294967296'],
  xml: ['<a/>', '<a b="c">ä&amp;<!-- x --><![CDATA[<]]></a>', 'text', ''],
};

/** Ranges by name: what their bounds are taken from. Multiranges follow their range. */
export const RANGE_BOUNDS: Readonly<Record<string, readonly [low: string, high: string, far: string]>> = {
  int4range: ['-2147483648', '0', '2147483646'],
  int8range: ['-9223372036854775808', '9007199254740993', '9223372036854775806'],
  numrange: ['-Infinity', '1.00', '1e131071'],
  daterange: ['4713-11-24 BC', '2000-01-01', '5874897-12-30'],
  tsrange: ['4713-01-01 00:00:00 BC', '2000-01-01 00:00:00.000001', '294276-12-31 23:59:59.999999'],
  tstzrange: ['-infinity', '2000-01-01 00:00:00.1+00', 'infinity'],
};

/** Types that no column of an application has values of. */
export const WITHOUT_VALUES: Readonly<Record<string, string>> = {
  gtsvector: 'its input function refuses every value',
  pg_brin_bloom_summary: 'only written by an index',
  pg_brin_minmax_multi_summary: 'only written by an index',
  pg_dependencies: 'only written by ANALYZE',
  pg_mcv_list: 'only written by ANALYZE',
  pg_ndistinct: 'only written by ANALYZE',
  pg_node_tree: 'only written by DDL',
};

export function rangeValues(range: string): string[] {
  const [low, high, far] = RANGE_BOUNDS[range] ?? ['', '', ''];
  return [
    'empty',
    '(,)',
    `[${low},${high})`,
    `(${low},${high}]`,
    `[${high},${high}]`,
    `[${high},)`,
    `(,${high}]`,
    `[${high},${far}]`,
    `(${low},${far})`,
  ].map((v) => v.replace(/(\d{4,}-[^,\])]*|-?infinity)/gi, '"$1"'));
}

export function multirangeValues(range: string): string[] {
  const all = rangeValues(range);
  return ['{}', ...all.filter((v) => v !== 'empty').map((v) => `{${v}}`), `{${all[2]},${all[5]}}`];
}
