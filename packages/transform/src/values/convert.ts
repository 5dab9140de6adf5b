/**
 * Changes of type that lose nothing: every value of the one has exactly one value of the other, and back. Anything else PostgreSQL can cast
 * (int8 to float8, numeric to float8, timestamp to date) may lose and is refused.
 */
import { finite } from './numeric.ts';
import { type Scalar, TYPES, type ValueType } from './types.ts';

export type Convert = (value: Scalar) => Scalar;

type TypeName = keyof typeof TYPES;

const same: Convert = (value) => value;
const toNumeric: Convert = (value) => finite(value as bigint, 0); // integers are read as bigint
const toFloat: Convert = (value) => Number(value);
const toText: Convert = (value) => (value as bigint).toString();
const uuidToText: Convert = (value) =>
  (value as Buffer).toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');

const LOSSLESS: Readonly<Partial<Record<TypeName, Readonly<Partial<Record<TypeName, Convert>>>>>> = {
  int2: { int4: same, int8: same, numeric: toNumeric, float4: toFloat, float8: toFloat, text: toText },
  int4: { int8: same, numeric: toNumeric, float8: toFloat, text: toText },
  int8: { numeric: toNumeric, text: toText },
  float4: { float8: same },
  varchar: { text: same },
  uuid: { text: uuidToText },
};

/** Types that something converts to. */
export function convertTargets(): TypeName[] {
  const names = Object.values(LOSSLESS).flatMap((to) => Object.keys(to));
  return [...new Set(names)] as TypeName[]; // keys of LOSSLESS
}

export interface Conversion {
  readonly type: ValueType;
  readonly convert: Convert;
  /** Both have the same bytes in either form: nothing is to be done. */
  readonly verbatim: boolean;
}

/** Null: not without loss. */
export function conversion(from: ValueType, to: string): Conversion | null {
  const byTarget = nameOf(from) === undefined ? undefined : LOSSLESS[nameOf(from) as TypeName];
  const convert = byTarget?.[to as TypeName];
  if (convert === undefined) return null;
  return { type: TYPES[to as TypeName], convert, verbatim: from === TYPES.varchar };
}

/** What a type converts to. */
export function targetsOf(from: ValueType): string[] {
  return Object.keys(LOSSLESS[nameOf(from) as TypeName] ?? {});
}

function nameOf(type: ValueType): TypeName | undefined {
  return Object.entries(TYPES).find(([, t]) => t === type)?.[0] as TypeName | undefined;
}
