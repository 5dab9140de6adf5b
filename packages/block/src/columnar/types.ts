/** Which PostgreSQL types have a binary form that is more than bytes (their `send` functions; OIDs of pg_type.dat). */

export type ValueType =
  | { readonly kind: 'ints'; readonly width: 1 | 2 | 4 | 8; readonly signed: boolean }
  | { readonly kind: 'float'; readonly width: 4 | 8 }
  | { readonly kind: 'numeric' }
  | { readonly kind: 'document' }
  | { readonly kind: 'bytes' };

const ints = (width: 1 | 2 | 4 | 8, signed = true): ValueType => ({ kind: 'ints', width, signed });
export const BYTES: ValueType = { kind: 'bytes' };
const DOCUMENT: ValueType = { kind: 'document' };

export const Oid = {
  bool: 16,
  int8: 20,
  int2: 21,
  int4: 23,
  text: 25,
  oid: 26,
  xid: 28,
  cid: 29,
  json: 114,
  float4: 700,
  float8: 701,
  money: 790,
  varchar: 1043,
  bpchar: 1042,
  date: 1082,
  time: 1083,
  timestamp: 1114,
  timestamptz: 1184,
  numeric: 1700,
  uuid: 2950,
  pgLsn: 3220,
  jsonb: 3802,
  inet: 869,
} as const;

const BINARY: Readonly<Record<number, ValueType>> = {
  [Oid.bool]: ints(1, false),
  [Oid.int2]: ints(2),
  [Oid.int4]: ints(4),
  [Oid.int8]: ints(8),
  [Oid.oid]: ints(4, false),
  [Oid.xid]: ints(4, false),
  [Oid.cid]: ints(4, false),
  [Oid.date]: ints(4),
  [Oid.time]: ints(8),
  [Oid.timestamp]: ints(8),
  [Oid.timestamptz]: ints(8),
  [Oid.money]: ints(8),
  [Oid.pgLsn]: ints(8),
  [Oid.float4]: { kind: 'float', width: 4 },
  [Oid.float8]: { kind: 'float', width: 8 },
  [Oid.numeric]: { kind: 'numeric' },
  [Oid.json]: DOCUMENT,
  [Oid.jsonb]: DOCUMENT,
};

/** How values of the type look when they arrive in binary (`binary`) or as text. */
export function valueType(typeOid: number, binary: boolean): ValueType {
  if (binary) return BINARY[typeOid] ?? BYTES;
  return typeOid === Oid.json || typeOid === Oid.jsonb ? DOCUMENT : BYTES;
}
