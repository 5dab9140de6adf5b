/**
 * numeric exactly: its binary form (numeric_send in utils/adt/numeric.c: digits of base 10000, weight, sign, display scale), its text, order
 * and rounding. NaN is equal to itself and above all others, as in PostgreSQL.
 */
import { assert } from '@drover/core';
import type { Numeric } from './types.ts';

const NEGATIVE = 0x4000;
const NAN = 0xc000;
const INF = 0xd000;
const MINUS_INF = 0xf000;
/** What numeric_send makes of the bits of an infinity's header; numeric_recv does not look at it. */
const INF_SCALE = 32;
const GROUP = 4;

export function finite(digits: bigint, scale: number): Numeric {
  return { kind: 'finite', digits, scale };
}

export function pow10(n: number): bigint {
  return 10n ** BigInt(n);
}

export function readNumeric(bytes: Buffer, start: number): Numeric {
  const count = bytes.readUInt16BE(start);
  const weight = bytes.readInt16BE(start + 2);
  const sign = bytes.readUInt16BE(start + 4);
  const scale = bytes.readUInt16BE(start + 6);
  if (sign === NAN) return { kind: 'nan' };
  if (sign === INF) return { kind: 'inf' };
  if (sign === MINUS_INF) return { kind: '-inf' };
  let text = '';
  for (let i = 0; i < count; i++) text += String(bytes.readUInt16BE(start + 8 + 2 * i)).padStart(GROUP, '0');
  const shift = GROUP * (weight - count + 1) + scale;
  const whole = text === '' ? 0n : BigInt(text);
  const digits = shift >= 0 ? whole * pow10(shift) : whole / pow10(-shift);
  return finite(sign === NEGATIVE ? -digits : digits, scale);
}

export function writeNumeric(value: Numeric): Buffer {
  if (value.kind !== 'finite') {
    const sign = value.kind === 'nan' ? NAN : value.kind === 'inf' ? INF : MINUS_INF;
    return header(0, 0, sign, value.kind === 'nan' ? 0 : INF_SCALE);
  }
  const negative = value.digits < 0n;
  const pad = (GROUP - (value.scale % GROUP)) % GROUP;
  const raw = String((negative ? -value.digits : value.digits) * pow10(pad));
  const text = raw.padStart(Math.ceil(raw.length / GROUP) * GROUP, '0');
  const groups: number[] = [];
  for (let i = 0; i < text.length; i += GROUP) groups.push(Number(text.slice(i, i + GROUP)));
  let weight = groups.length - (value.scale + pad) / GROUP - 1;
  while (groups[0] === 0) {
    groups.shift();
    weight--;
  }
  while (groups.at(-1) === 0) groups.pop();
  if (groups.length === 0) weight = 0;
  const out = header(groups.length, weight, negative ? NEGATIVE : 0, value.scale);
  for (const [i, group] of groups.entries()) out.writeUInt16BE(group, 8 + 2 * i);
  return out;
}

function header(count: number, weight: number, sign: number, scale: number): Buffer {
  const out = Buffer.alloc(8 + 2 * count);
  out.writeUInt16BE(count, 0);
  out.writeInt16BE(weight, 2);
  out.writeUInt16BE(sign, 4);
  out.writeUInt16BE(scale, 6);
  return out;
}

const EXPONENT_MAX = 1000;

/** What PostgreSQL prints, and literals (`1.50`, `.5`, `1e3`); undefined when it is none, or its exponent is beyond 1000. */
export function parseNumeric(text: string): Numeric | undefined {
  if (text === 'NaN') return { kind: 'nan' };
  if (text === 'Infinity') return { kind: 'inf' };
  if (text === '-Infinity') return { kind: '-inf' };
  const m = /^(-?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/.exec(text);
  if (m === null) return undefined;
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = m;
  if (whole === '' && fraction === '') return undefined;
  const e = Number(exponent);
  if (Math.abs(e) > EXPONENT_MAX) return undefined;
  const digits = BigInt(whole + fraction) * (sign === '-' ? -1n : 1n);
  const scale = fraction.length - e;
  return scale >= 0 ? finite(digits, scale) : finite(digits * pow10(-scale), 0);
}

export function formatNumeric(value: Numeric): string {
  switch (value.kind) {
    case 'nan':
      return 'NaN';
    case 'inf':
      return 'Infinity';
    case '-inf':
      return '-Infinity';
    case 'finite': {
      const { digits, scale } = value;
      const text = String(digits < 0n ? -digits : digits).padStart(scale + 1, '0');
      const sign = digits < 0n ? '-' : '';
      return scale === 0 ? sign + text : `${sign}${text.slice(0, -scale)}.${text.slice(-scale)}`;
    }
  }
}

const RANK = { '-inf': 0, finite: 1, inf: 2, nan: 3 } as const;

/** Negative, 0 or positive. */
export function compareNumeric(a: Numeric, b: Numeric): number {
  if (a.kind !== 'finite' || b.kind !== 'finite') return RANK[a.kind] - RANK[b.kind];
  const scale = Math.max(a.scale, b.scale);
  const left = a.digits * pow10(scale - a.scale);
  const right = b.digits * pow10(scale - b.scale);
  return left < right ? -1 : left > right ? 1 : 0;
}

/** `round(value, places)`: half away from zero; `places` may be negative. The scale never grows. */
export function roundNumeric(value: Numeric, places: number): Numeric {
  if (value.kind !== 'finite' || places >= value.scale) return value;
  return quotient(value.digits, value.scale, places, true);
}

/** Towards zero. */
export function cutNumeric(value: Numeric, places: number): Numeric {
  if (value.kind !== 'finite' || places >= value.scale) return value;
  return quotient(value.digits, value.scale, places, false);
}

function quotient(digits: bigint, scale: number, places: number, half: boolean): Numeric {
  assert(places < scale, 'rounding must take digits away');
  const unit = pow10(scale - places);
  const size = digits < 0n ? -digits : digits;
  const rounded = (size + (half ? unit / 2n : 0n)) / unit;
  const signed = digits < 0n ? -rounded : rounded;
  return places >= 0 ? finite(signed, places) : finite(signed * pow10(-places), 0);
}
