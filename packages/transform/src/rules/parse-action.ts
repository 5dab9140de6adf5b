/** One entry of `actions` of a `[[transform]]`: an inline table with the verb and its column first. */
import type { Faults } from '@drover/config/faults.ts';
import { convertTargets } from '../values/convert.ts';
import type { Action, Mask } from './types.ts';

export type Table = Readonly<Record<string, unknown>>;

const VERBS = ['drop', 'rename', 'convert', 'mask'] as const;
type Verb = (typeof VERBS)[number];

const EXAMPLES: Readonly<Record<Verb, string>> = {
  drop: '{ drop = "ssn" }',
  rename: '{ rename = "mail", to = "email" }',
  convert: '{ convert = "id", to = "int8" }',
  mask: '{ mask = "email", with = "hash" }',
};

const MASKS = ['hash', 'partial', 'constant', 'null', 'format-keeping', 'truncate', 'round'] as const;

const KEYS: Readonly<Record<string, readonly string[]>> = {
  drop: [],
  rename: ['to'],
  convert: ['to'],
  hash: ['with', 'length', 'scope'],
  partial: ['with', 'first', 'last', 'fill'],
  constant: ['with', 'value'],
  null: ['with'],
  'format-keeping': ['with', 'scope'],
  truncate: ['with', 'to'],
  round: ['with', 'digits'],
};

const HASH_LENGTH = 32;
const HASH_LENGTH_MAX = 64;
const PARTIAL_MAX = 1000;
const ROUND_MAX = 1000;

/** Undefined after a fault. */
export function parseAction(raw: unknown, at: string, faults: Faults): Action | undefined {
  if (!isTable(raw)) {
    faults.add(at, 'must be an inline table', EXAMPLES.drop);
    return undefined;
  }
  const verbs = VERBS.filter((verb) => verb in raw);
  const [verb] = verbs;
  if (verb === undefined || verbs.length > 1) {
    faults.add(at, `must say one of ${VERBS.join(', ')}`, EXAMPLES.mask);
    return undefined;
  }
  const column = raw[verb];
  if (typeof column !== 'string' || column === '') {
    faults.add(`${at}.${verb}`, `${JSON.stringify(column)} is not the name of a column`, EXAMPLES[verb]);
    return undefined;
  }
  const sort = verb === 'mask' ? String(raw['with']) : verb;
  const known = KEYS[sort] ?? ['with'];
  for (const key of Object.keys(raw)) {
    if (key !== verb && !known.includes(key))
      faults.add(`${at}.${key}`, `unknown key for ${sort}`, EXAMPLES[verb]);
  }
  const read = new Fields(raw, at, EXAMPLES[verb], faults);
  switch (verb) {
    case 'drop':
      return { at, column, kind: 'drop' };
    case 'rename': {
      const to = read.text('to');
      return to === undefined ? undefined : { at, column, kind: 'rename', to };
    }
    case 'convert': {
      const to = read.choice('to', convertTargets());
      return to === undefined ? undefined : { at, column, kind: 'convert', to };
    }
    case 'mask': {
      const mask = parseMask(raw, at, faults);
      return mask === undefined ? undefined : { at, column, kind: 'mask', mask };
    }
  }
}

function parseMask(raw: Table, at: string, faults: Faults): Mask | undefined {
  const read = (example: string) => new Fields(raw, at, example, faults);
  const kind = read(EXAMPLES.mask).choice('with', MASKS);
  switch (kind) {
    case 'hash': {
      const fields = read('{ mask = "email", with = "hash", length = 32, scope = "people" }');
      const length = fields.integer('length', HASH_LENGTH, 8, HASH_LENGTH_MAX);
      const scope = fields.text('scope', '');
      return length === undefined || scope === undefined ? undefined : { kind, length, scope };
    }
    case 'partial': {
      const fields = read('{ mask = "name", with = "partial", first = 1, last = 0, fill = "*" }');
      const first = fields.integer('first', 0, 0, PARTIAL_MAX);
      const last = fields.integer('last', 0, 0, PARTIAL_MAX);
      const fill = fields.text('fill', '*');
      if (fill !== undefined && Array.from(fill).length !== 1)
        faults.add(`${at}.fill`, 'must be one character', 'fill = "*"');
      return first === undefined || last === undefined || fill === undefined
        ? undefined
        : { kind, first, last, fill };
    }
    case 'constant': {
      const value = constantOf(raw['value']);
      if (value !== undefined) return { kind, value };
      faults.add(`${at}.value`, 'must be a text, a number, true or false', 'value = "redacted"');
      return undefined;
    }
    case 'null':
      return { kind: 'constant', value: null };
    case 'format-keeping': {
      const scope = read('{ mask = "phone", with = "format-keeping", scope = "people" }').text('scope', '');
      return scope === undefined ? undefined : { kind, scope };
    }
    case 'truncate': {
      const to = read('{ mask = "born", with = "truncate", to = "year" }').choice('to', ['month', 'year']);
      return to === undefined ? undefined : { kind, to };
    }
    case 'round': {
      const digits = read('{ mask = "salary", with = "round", digits = -3 }').integer(
        'digits',
        undefined,
        -ROUND_MAX,
        ROUND_MAX,
      );
      return digits === undefined ? undefined : { kind, digits };
    }
    case undefined:
      return undefined;
  }
}

function constantOf(value: unknown): string | number | bigint | boolean | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  return typeof value === 'string' || typeof value === 'bigint' || typeof value === 'boolean'
    ? value
    : undefined;
}

/** Values of one table; undefined after a fault. */
class Fields {
  readonly #raw: Table;
  readonly #at: string;
  readonly #example: string;
  readonly #faults: Faults;

  constructor(raw: Table, at: string, example: string, faults: Faults) {
    this.#raw = raw;
    this.#at = at;
    this.#example = example;
    this.#faults = faults;
  }

  text(key: string, fallback?: string): string | undefined {
    const value = this.#raw[key] ?? fallback;
    if (typeof value === 'string' && (value !== '' || fallback !== undefined) && !value.includes('\0'))
      return value;
    return this.#wrong(key, value, 'a text');
  }

  integer(key: string, fallback: number | undefined, min: number, max: number): number | undefined {
    const value = this.#raw[key] ?? fallback;
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
    return this.#wrong(key, value, `a whole number from ${min} to ${max}`);
  }

  choice<T extends string>(key: string, choices: readonly T[]): T | undefined {
    const value = this.#raw[key];
    return choices.find((c) => c === value) ?? this.#wrong(key, value, `one of ${choices.join(', ')}`);
  }

  #wrong(key: string, value: unknown, expected: string): undefined {
    const what = value === undefined ? 'is missing; it is' : `${JSON.stringify(value)} is not`;
    this.#faults.add(`${this.#at}.${key}`, `${what} ${expected}`, this.#example);
    return undefined;
  }
}

export function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
