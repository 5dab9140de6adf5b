/** The masks as functions over values, by type. All are pure and, for one secret and scope, always give the same for the same. */
import { createHmac } from 'node:crypto';
import { must } from '@drover/core';
import {
  DATE_INFINITY,
  DATE_MINUS_INFINITY,
  DAY_US,
  floorDiv,
  TIME_INFINITY,
  TIME_MINUS_INFINITY,
  truncateDay,
} from '../values/calendar.ts';
import { cutNumeric, finite, formatNumeric, parseNumeric, pow10, roundNumeric } from '../values/numeric.ts';
import { intBounds, type Numeric, type ValueType } from '../values/types.ts';

/** Masks of one scope agree, in all tables and columns: what was equal stays equal, so that joins hold. */
export function maskKey(secret: string, purpose: 'hash' | 'format', scope: string): Buffer {
  return createHmac('sha256', secret).update(`transform:${purpose}:${scope}`).digest();
}

export function hashText(key: Buffer, text: string, length: number): string {
  return createHmac('sha256', key).update(text).digest('hex').slice(0, length);
}

export function hashBytes(key: Buffer, bytes: Buffer): Buffer {
  return createHmac('sha256', key).update(bytes).digest();
}

/** Of version 8 (RFC 9562), 122 bits. */
export function hashUuid(key: Buffer, bytes: Buffer): Buffer {
  const out = hashBytes(key, bytes).subarray(0, 16);
  out[6] = ((out[6] ?? 0) & 0x0f) | 0x80;
  out[8] = ((out[8] ?? 0) & 0x3f) | 0x80;
  return out;
}

/** Keeps the first and last characters; a text that would be shown whole is covered whole. */
export function partialText(
  text: string,
  { first, last, fill }: { readonly first: number; readonly last: number; readonly fill: string },
): string {
  const characters = Array.from(text);
  const covered = characters.length - first - last;
  if (covered <= 0) return fill.repeat(characters.length);
  const tail = last === 0 ? '' : characters.slice(-last).join('');
  return characters.slice(0, first).join('') + fill.repeat(covered) + tail;
}

export function truncateDate(day: bigint, to: 'month' | 'year'): bigint {
  return day === DATE_INFINITY || day === DATE_MINUS_INFINITY ? day : truncateDay(day, to);
}

/** In UTC. */
export function truncateTimestamp(us: bigint, to: 'month' | 'year'): bigint {
  if (us === TIME_INFINITY || us === TIME_MINUS_INFINITY) return us;
  return truncateDay(floorDiv(us, DAY_US), to) * DAY_US;
}

/** `round(value, places)`; what would overflow the type is cut instead. */
export function roundInt(value: bigint, places: number, size: number): bigint {
  if (places >= 0) return value;
  const { min, max } = intBounds(size);
  const rounded = whole(roundNumeric(finite(value, 0), places));
  return rounded > max || rounded < min ? whole(cutNumeric(finite(value, 0), places)) : rounded;
}

/** Likewise; numeric(p,s) holds p - s digits before the point. */
export function roundWithin(value: Numeric, places: number, typmod: number): Numeric {
  const rounded = roundNumeric(value, places);
  if (typmod < 4 || rounded.kind !== 'finite') return rounded;
  const precision = ((typmod - 4) >> 16) & 0xffff;
  const scale = (((typmod - 4) & 0x7ff) ^ 1024) - 1024;
  const limit = pow10(Math.max(precision - scale, 0));
  const size = rounded.digits < 0n ? -rounded.digits : rounded.digits;
  return size >= limit * pow10(rounded.scale) ? cutNumeric(value, places) : rounded;
}

/** `round(value::numeric, places)`: PostgreSQL makes a numeric of the digits that a float surely has (FLT_DIG, DBL_DIG). */
export function roundFloat(value: number, places: number, type: ValueType): number {
  if (!Number.isFinite(value)) return value;
  const shown = significant(value, type.size === 4 ? 6 : 15);
  const rounded = Number(formatNumeric(roundNumeric(shown, places)));
  const fitted = type.size === 4 ? Math.fround(rounded) : rounded;
  return Number.isFinite(fitted) ? fitted : value;
}

/** More than a tie between two shorter numbers can have. */
const EXACT_DIGITS = 100;

/** C's `%.<digits>g`: half to even, where toPrecision goes up. */
function significant(value: number, digits: number): Numeric {
  const exact = must(parseNumeric(value.toPrecision(EXACT_DIGITS)), 'the digits of a number');
  if (exact.kind !== 'finite') return exact;
  const size = exact.digits < 0n ? -exact.digits : exact.digits;
  const excess = String(size).length - digits;
  if (excess <= 0) return exact;
  const unit = pow10(excess);
  const [low, rest] = [size / unit, (size % unit) * 2n];
  const kept = rest > unit || (rest === unit && low % 2n === 1n) ? low + 1n : low;
  const signed = exact.digits < 0n ? -kept : kept;
  const scale = exact.scale - excess;
  return scale >= 0 ? finite(signed, scale) : finite(signed * pow10(-scale), 0);
}

function whole(value: Numeric): bigint {
  return value.kind === 'finite' ? value.digits : 0n;
}
