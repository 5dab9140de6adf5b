/** Labels, templated text, prose, and documents. */
import { metadata, orderNumbers, prefs, properties, timestamps, urlPaths } from '../json-data.ts';
import { ALNUM, type Random, weighted, zipf } from '../random.ts';
import { properties as tableProperties, userAgents } from '../tables/events.ts';
import { STATUS_WEIGHTS, STATUSES, metadata as tableMetadata } from '../tables/orders.ts';
import { preferences } from '../tables/users.ts';
import { FIRST_NAMES, LAST_NAMES, WORDS } from '../tables/words.ts';
import { type ColumnSpec, type Gates, single, type Write } from './spec.ts';

const TEXT = 25;
const JSONB = 3802;
const LIST_ROWS = 10_000;

const INSTRUCTIONS = ['DELIVER IN PERSON', 'COLLECT COD', 'NONE', 'TAKE BACK RETURN'].map((s) =>
  s.padEnd(25),
);
const COUNTRIES = Array.from({ length: 40 }, (_, i) =>
  `${String.fromCharCode(65 + (i % 26))}${WORDS[i]?.[0]}`.toUpperCase(),
);

function texts(
  name: string,
  seed: number,
  values: readonly string[],
  weights: readonly number[],
  gates: Gates = {},
): ColumnSpec {
  const make = (random: Random): Write => {
    const draw = weighted(weights);
    return (row) => row.text(values[draw(random)] as string);
  };
  return single(name, TEXT, seed, make, gates);
}

const even = (values: readonly string[]): number[] => values.map(() => 1);
const byRank = (values: readonly string[], s: number): number[] =>
  values.map((_, rank) => 1 / (rank + 1) ** s);

/** The status stays the same for about 20 rows. */
function runs(random: Random): Write {
  let status = STATUSES[0] as string;
  return (row) => {
    if (random.chance(0.05)) status = random.pick(STATUSES);
    row.text(status);
  };
}

/** One value after the other of a list; lists of fewer rows begin alike. */
function listed(
  name: string,
  typeOid: number,
  seed: number,
  list: (count: number) => string[],
  gates: Gates = {},
): ColumnSpec {
  return single(
    name,
    typeOid,
    seed,
    () => {
      const values = list(LIST_ROWS);
      let at = 0;
      return (row) => {
        const value = values[at++] as string;
        if (typeOid === JSONB) row.jsonb(value);
        else row.text(value);
      };
    },
    gates,
  );
}

function agents(random: Random): Write {
  const values = userAgents(random);
  const draw = zipf(values.length, 1);
  return (row) => row.text(values[draw(random)] as string);
}

function sentence(random: Random): string {
  const length = random.between(10, 43);
  let out = '';
  while (out.length < length) out += `${random.pick(WORDS)} `;
  return out.slice(0, length);
}

const NAMES = Array.from(
  { length: 40 },
  (_, i) => `${WORDS[i]}_${['view', 'click', 'submit', 'scroll'][i % 4]}`,
);
const document = (name: string, seed: number, make: (random: Random) => string): ColumnSpec =>
  single(name, JSONB, seed, (random) => (row) => row.jsonb(make(random)));

export const textColumns: readonly ColumnSpec[] = [
  texts('status, 7 values, skewed', 401, STATUSES, STATUS_WEIGHTS, { 10000: 23 }),
  single('status, 7 values, runs of 20', TEXT, 402, runs, { 1000: 60 }),
  texts('char(25), 4 values', 403, INSTRUCTIONS, even(INSTRUCTIONS), { 1000: 70 }),
  single('user agent, 150 values', TEXT, 404, agents, { 1000: 100 }),
  texts('event name, 40 values, zipf', 405, NAMES, byRank(NAMES, 1)),
  texts('country, 40 values', 406, COUNTRIES, even(COUNTRIES)),
  listed('order number', TEXT, 4, orderNumbers, { 100: 50, 1000: 260 }),
  listed('url path', TEXT, 5, urlPaths, { 100: 6.3, 1000: 12.6, 10000: 13.9 }),
  listed('timestamp as text, 40 a second', TEXT, 6, timestamps),
  single(
    'email',
    TEXT,
    410,
    (random) => (row) =>
      row.text(`${random.pick(FIRST_NAMES)}.${random.pick(LAST_NAMES)}${random.below(10_000)}@example.com`),
  ),
  single('comment of 10 to 43 letters', TEXT, 411, (random) => (row) => row.text(sentence(random))),
  single('bcrypt hash', TEXT, 412, (random) => (row) => row.text(`$2b$12$${random.text(53, `./${ALNUM}`)}`)),
  listed('jsonb orders.metadata, 4 shapes', JSONB, 1, metadata, { 1000: 30, 10000: 30 }),
  listed('jsonb events.properties, 8 shapes', JSONB, 2, properties, { 1000: 15, 10000: 15 }),
  listed('jsonb users.prefs, 1 shape', JSONB, 3, prefs, { 1000: 75, 10000: 75 }),
  document('jsonb of table orders_insert', 421, tableMetadata),
  document('jsonb of table events', 422, tableProperties),
  document('jsonb of table users', 423, preferences),
];
