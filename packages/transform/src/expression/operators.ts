/**
 * What a column may be compared with, and how, so that the answer is PostgreSQL's. Left out on purpose: what depends on collation or time
 * zone (order of texts, timestamptz without an offset), on settings, or what would raise an error for some rows.
 */
import { assertNever } from '@drover/core';
import { DAY_US, parseTime } from '../values/calendar.ts';
import { parseValue } from '../values/codec.ts';
import { compareNumeric, finite, formatNumeric, parseNumeric } from '../values/numeric.ts';
import { type Numeric, type Scalar, TYPES, type ValueType } from '../values/types.ts';
import { type CompareOp, ExpressionFault, type Literal } from './types.ts';

export type Order = (a: Scalar, b: Scalar) => number;

/** @throws ExpressionFault when the two cannot be compared by `op` */
export function comparator(a: ValueType, b: ValueType, op: CompareOp, at: number): Order {
  const left = a.family;
  const right = b.family;
  if (left === 'text' || left === 'bpchar') {
    if (op !== '=' && op !== '<>')
      throw new ExpressionFault(at, 'the order of texts depends on their collation; use =, <>, IN or LIKE');
    if (left === right) return left === 'text' ? sameText : samePadded;
  } else if (left === right) return BY_FAMILY[left];
  else if (exact(a) && exact(b)) return (x, y) => compareNumeric(asNumeric(x), asNumeric(y));
  else if ((left === 'int' && right === 'float') || (left === 'float' && right === 'int'))
    return (x, y) => compareFloat(Number(x), Number(y));
  throw new ExpressionFault(at, `${a.name} is not compared with ${b.name}`);
}

const BY_FAMILY: Readonly<Record<Exclude<ValueType['family'], 'text' | 'bpchar'>, Order>> = {
  int: plain,
  date: plain,
  timestamp: plain,
  timestamptz: plain,
  bool: (a, b) => Number(a) - Number(b),
  float: (a, b) => compareFloat(Number(a), Number(b)),
  numeric: (a, b) => compareNumeric(a as Numeric, b as Numeric), // the family says so
  uuid: (a, b) => Buffer.compare(a as Buffer, b as Buffer),
  bytea: (a, b) => Buffer.compare(a as Buffer, b as Buffer),
};

function plain(a: Scalar, b: Scalar): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const sameText: Order = (a, b) => (a === b ? 0 : 1);
/** char(n): trailing blanks do not count. */
const samePadded: Order = (a, b) => (unpadded(a as string) === unpadded(b as string) ? 0 : 1);

function unpadded(text: string): string {
  let end = text.length;
  while (text[end - 1] === ' ') end--;
  return text.slice(0, end);
}

/** NaN equals itself and is above all; -0 is 0. */
function compareFloat(a: number, b: number): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
  return a < b ? -1 : a > b ? 1 : 0;
}

function exact(type: ValueType): boolean {
  return type.family === 'int' || type.family === 'numeric';
}

function asNumeric(value: Scalar): Numeric {
  return typeof value === 'bigint' ? finite(value, 0) : (value as Numeric); // of exact types only
}

export interface Constant {
  readonly type: ValueType;
  readonly value: Scalar;
}

/** The literal as a value that the column compares with. @throws ExpressionFault */
export function constantFor(column: ValueType, literal: Literal): Constant {
  const value = valueFor(column, literal);
  if (value === undefined)
    throw new ExpressionFault(
      literal.at,
      `not ${expected(column)}, which a column of type ${column.name} is compared with`,
    );
  return value;
}

function valueFor(column: ValueType, literal: Literal): Constant | undefined {
  const { kind, text } = literal;
  const own = (value: Scalar | undefined) => (value === undefined ? undefined : { type: column, value });
  switch (column.family) {
    case 'int':
    case 'numeric':
      return kind === 'number' ? numberFor(text) : undefined;
    case 'float':
      return kind === 'number' ? floatFor(text) : undefined;
    case 'text':
    case 'bpchar':
      return kind === 'text' ? own(text) : undefined;
    case 'bool':
      return kind === 'bool' ? own(text === 'true') : undefined;
    case 'uuid':
      return kind === 'uuid' || kind === 'text' ? own(parseValue(column, text)) : undefined;
    case 'bytea':
      return undefined;
    case 'date':
      return kind === 'date' || kind === 'text' ? own(moment(column, text)) : undefined;
    case 'timestamp':
      return kind === 'timestamptz' || kind === 'uuid' || kind === 'number' || kind === 'bool'
        ? undefined
        : own(moment(column, text, kind !== 'date'));
    case 'timestamptz':
      return kind === 'timestamptz' || kind === 'text' ? own(moment(column, text)) : undefined;
    default:
      return assertNever(column.family);
  }
}

function numberFor(text: string): Constant | undefined {
  const value = parseNumeric(text);
  return value === undefined ? undefined : { type: TYPES.numeric, value };
}

/** As float8, which PostgreSQL turns it into; out of its range that is an error there. */
function floatFor(text: string): Constant | undefined {
  const exactly = parseNumeric(text);
  if (exactly === undefined || exactly.kind !== 'finite') return undefined;
  const value = Number(formatNumeric(exactly));
  const lost = value === 0 && exactly.digits !== 0n;
  return !Number.isFinite(value) || lost ? undefined : { type: TYPES.float8, value };
}

/** Last day of the type date (DATE_END_JULIAN), and years of 365 days that a timestamp surely holds. */
const DATE_MAX = 2_145_031_948n;
const YEARS_MAX = 292_000n;

/** `time`: false for DATE literals, which are midnight to a timestamp. A text without time of day is midnight, too. */
function moment(column: ValueType, text: string, time = true): bigint | undefined {
  const strict = parseValue(column, text);
  if (typeof strict === 'bigint' && (time || text.endsWith('infinity'))) return inRange(column, strict);
  if (column.family !== 'timestamp') return undefined;
  const parsed = parseTime(text);
  return parsed === undefined || parsed.us !== undefined ? undefined : inRange(column, parsed.day * DAY_US);
}

/** Near the ends of the calendar literals are refused rather than judged. */
function inRange(column: ValueType, value: bigint): bigint | undefined {
  const bits = column.family === 'date' ? 31n : 63n;
  if (value === 2n ** bits - 1n || value === -(2n ** bits)) return value; // infinity
  if (column.family === 'date') return value <= DATE_MAX ? value : undefined;
  return value < YEARS_MAX * 365n * DAY_US ? value : undefined;
}

function expected(column: ValueType): string {
  switch (column.family) {
    case 'int':
    case 'numeric':
    case 'float':
      return 'a number (without quotes)';
    case 'text':
    case 'bpchar':
      return 'a text in single quotes';
    case 'bool':
      return 'TRUE or FALSE';
    case 'uuid':
      return "a uuid, as in '5b3c…-…'";
    case 'date':
      return "a date, as in DATE '2026-01-31'";
    case 'timestamp':
      return "a timestamp without zone, as in TIMESTAMP '2026-01-31 12:00:00'";
    case 'timestamptz':
      return "a timestamp with its zone, as in TIMESTAMPTZ '2026-01-31 12:00:00+00'";
    case 'bytea':
      return 'anything';
    default:
      return assertNever(column.family);
  }
}

/** `abc%`, `%abc`, `%abc%`, `abc`; `\` takes the next character as it is. @throws ExpressionFault */
export function likeTest(type: ValueType, { text, at }: Literal): (value: Scalar) => boolean {
  if (type.family !== 'text' && type.family !== 'bpchar')
    throw new ExpressionFault(at, `LIKE is for texts, the column is ${type.name}`);
  const { parts, wild } = patternParts(text, at);
  if (wild.some((isWild, i) => isWild && i > 0 && i < wild.length - 1))
    throw new ExpressionFault(at, "LIKE takes a prefix 'a%', a suffix '%a' or a part '%a%'");
  const needle = parts.join('');
  const open = wild[0] === true;
  const closed = wild.at(-1) === true;
  return (value) => {
    const s = value as string; // of texts only, see above
    if (wild.length > 0 && wild.every(Boolean)) return true;
    if (open && closed) return s.includes(needle);
    if (open) return s.endsWith(needle);
    return closed ? s.startsWith(needle) : s === needle;
  };
}

/** Characters, and whether each is a `%` that stands for any. */
function patternParts(text: string, at: number): { parts: string[]; wild: boolean[] } {
  const parts: string[] = [];
  const wild: boolean[] = [];
  const characters = Array.from(text);
  for (let i = 0; i < characters.length; i++) {
    const c = characters[i] ?? '';
    if (c === '_') throw new ExpressionFault(at, 'LIKE takes no _ here; for the character itself write \\_');
    if (c === '\\' && i === characters.length - 1) throw new ExpressionFault(at, 'a pattern ends with \\');
    const isWild = c === '%';
    wild.push(isWild);
    parts.push(isWild ? '' : c === '\\' ? (characters[++i] ?? '') : c);
  }
  return { parts, wild };
}
