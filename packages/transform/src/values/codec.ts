/**
 * One cell of pgoutput to a value and back, in binary form (the type's send function) and in text form (its output function with the
 * settings that Drover pins: ISO dates, UTC, hex bytea, shortest floats). What is read can be written again to the same bytes.
 */
import { assert, assertNever, DroverError } from '@drover/core';
import {
  DATE_INFINITY,
  DATE_MINUS_INFINITY,
  DAY_US,
  formatDay,
  formatTime,
  parseTime,
  TIME_INFINITY,
  TIME_MINUS_INFINITY,
} from './calendar.ts';
import { formatNumeric, parseNumeric, readNumeric, writeNumeric } from './numeric.ts';
import { intBounds, type Numeric, type Scalar, type ValueType } from './types.ts';

export type Form = 'binary' | 'text';

/** @throws DroverError `block.corrupt` when the bytes are no value of the type */
export function readValue(type: ValueType, form: Form, bytes: Buffer, start: number, end: number): Scalar {
  if (form === 'text') {
    const value = parseValue(type, bytes.toString('utf8', start, end));
    if (value === undefined) throw damaged(type);
    return value;
  }
  if (type.size !== 0 && end - start !== type.size) throw damaged(type);
  switch (type.family) {
    case 'int':
      return readInt(bytes, start, type.size);
    case 'date':
      return BigInt(bytes.readInt32BE(start));
    case 'timestamp':
    case 'timestamptz':
      return bytes.readBigInt64BE(start);
    case 'float':
      return type.size === 4 ? bytes.readFloatBE(start) : bytes.readDoubleBE(start);
    case 'bool':
      return bytes[start] !== 0;
    case 'text':
    case 'bpchar':
      return bytes.toString('utf8', start, end);
    case 'uuid':
    case 'bytea':
      return bytes.subarray(start, end);
    case 'numeric':
      if (end - start < 8 || end - start !== 8 + 2 * bytes.readUInt16BE(start)) throw damaged(type);
      return readNumeric(bytes, start);
    default:
      return assertNever(type.family);
  }
}

function readInt(bytes: Buffer, start: number, size: number): bigint {
  if (size === 8) return bytes.readBigInt64BE(start);
  return BigInt(size === 4 ? bytes.readInt32BE(start) : bytes.readInt16BE(start));
}

function damaged(type: ValueType): DroverError {
  return new DroverError('block.corrupt', `a value is no ${type.name}`);
}

/** The value a text stands for, strictly as PostgreSQL prints it; undefined when it is none. */
export function parseValue(type: ValueType, text: string): Scalar | undefined {
  switch (type.family) {
    case 'int': {
      if (!/^-?\d{1,19}$/.test(text)) return undefined;
      const value = BigInt(text);
      const { min, max } = intBounds(type.size);
      return value < min || value > max ? undefined : value;
    }
    case 'float':
      return parseFloatText(text, type.size);
    case 'numeric':
      return parseNumeric(text);
    case 'text':
    case 'bpchar':
      return text;
    case 'bool':
      return text === 't' || text === 'true' ? true : text === 'f' || text === 'false' ? false : undefined;
    case 'uuid':
      return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)
        ? Buffer.from(text.replaceAll('-', ''), 'hex')
        : undefined;
    case 'bytea':
      return /^\\x(?:[0-9a-f]{2})*$/i.test(text) ? Buffer.from(text.slice(2), 'hex') : undefined;
    case 'date':
    case 'timestamp':
    case 'timestamptz':
      return parseMoment(type.family, text);
    default:
      return assertNever(type.family);
  }
}

function parseFloatText(text: string, size: number): number | undefined {
  if (text === 'NaN') return Number.NaN;
  if (text === 'Infinity' || text === '-Infinity') return Number(text);
  if (!/^-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(text)) return undefined;
  const value = size === 4 ? Math.fround(Number(text)) : Number(text);
  return Number.isFinite(value) ? value : undefined;
}

function parseMoment(family: 'date' | 'timestamp' | 'timestamptz', text: string): bigint | undefined {
  if (text === 'infinity') return family === 'date' ? DATE_INFINITY : TIME_INFINITY;
  if (text === '-infinity') return family === 'date' ? DATE_MINUS_INFINITY : TIME_MINUS_INFINITY;
  const parsed = parseTime(text);
  if (parsed === undefined) return undefined;
  const { day, us, zone } = parsed;
  if (family === 'date') return us === undefined ? day : undefined;
  if (us === undefined) return undefined;
  if ((zone === undefined) !== (family === 'timestamp')) return undefined;
  return day * DAY_US + us - (zone ?? 0n);
}

/** The bytes of a value. */
export function writeValue(type: ValueType, form: Form, value: Scalar): Buffer {
  if (form === 'text') return Buffer.from(formatValue(type, value));
  if (typeof value === 'string') return Buffer.from(value);
  if (Buffer.isBuffer(value)) return value;
  if (typeof value === 'boolean') return Buffer.from([value ? 1 : 0]);
  if (typeof value === 'object') return writeNumeric(value);
  const out = Buffer.alloc(type.size);
  if (type.family === 'float') {
    if (type.size === 4) out.writeFloatBE(Number(value));
    else out.writeDoubleBE(Number(value));
    return out;
  }
  assert(typeof value === 'bigint', 'a value of another type');
  if (type.size === 8) out.writeBigInt64BE(value);
  else out.writeIntBE(Number(value), 0, type.size);
  return out;
}

/** What PostgreSQL prints for it. */
export function formatValue(type: ValueType, value: Scalar): string {
  switch (type.family) {
    case 'date':
      return formatDay(value as bigint); // the family says what it is, here and below
    case 'timestamp':
      return formatTime(value as bigint, '');
    case 'timestamptz':
      return formatTime(value as bigint, '+00');
    case 'numeric':
      return formatNumeric(value as Numeric);
    case 'bool':
      return value === true ? 't' : 'f';
    case 'bytea':
      return `\\x${(value as Buffer).toString('hex')}`;
    case 'uuid':
      return (value as Buffer).toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
    case 'float':
      return formatFloat(value as number, type.size);
    case 'int':
    case 'text':
    case 'bpchar':
      return (value as bigint | string).toString();
    default:
      return assertNever(type.family);
  }
}

const FLOAT4_DIGITS_MAX = 9;

/** Shortest text that reads back as the same value (extra_float_digits = 1). Exponents are written otherwise than PostgreSQL does. */
function formatFloat(value: number, size: number): string {
  if (size === 8 || !Number.isFinite(value)) return Object.is(value, -0) ? '-0' : String(value);
  for (let digits = 1; digits < FLOAT4_DIGITS_MAX; digits++) {
    const text = String(Number(value.toPrecision(digits)));
    if (Math.fround(Number(text)) === value) return Object.is(value, -0) ? '-0' : text;
  }
  return String(Number(value.toPrecision(FLOAT4_DIGITS_MAX)));
}
