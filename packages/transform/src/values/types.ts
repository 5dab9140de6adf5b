/** The types whose values can be read, compared and masked. All others pass untouched and can only be dropped, renamed or set to NULL. */
export type Family =
  | 'int'
  | 'numeric'
  | 'float'
  | 'text'
  | 'bpchar'
  | 'bool'
  | 'date'
  | 'timestamp'
  | 'timestamptz'
  | 'uuid'
  | 'bytea';

export interface ValueType {
  readonly oid: number;
  /** As SQL names it. */
  readonly name: string;
  readonly family: Family;
  /** Bytes of the binary form; 0: it varies. */
  readonly size: number;
}

/** Read values: int, timestamps: bigint; date: days as bigint; float: number; text: string; uuid, bytea: bytes. */
export type Scalar = bigint | number | string | boolean | Buffer | Numeric;

/** `digits` / 10^`scale`; or one of the values that are no number. */
export type Numeric =
  | { readonly kind: 'finite'; readonly digits: bigint; readonly scale: number }
  | { readonly kind: 'nan' | 'inf' | '-inf' };

function type(oid: number, name: string, family: Family, size: number): ValueType {
  return { oid, name, family, size };
}

/** OIDs of built-in types never change (pg_type.dat). */
export const TYPES = {
  bool: type(16, 'bool', 'bool', 1),
  bytea: type(17, 'bytea', 'bytea', 0),
  int8: type(20, 'int8', 'int', 8),
  int2: type(21, 'int2', 'int', 2),
  int4: type(23, 'int4', 'int', 4),
  text: type(25, 'text', 'text', 0),
  float4: type(700, 'float4', 'float', 4),
  float8: type(701, 'float8', 'float', 8),
  bpchar: type(1042, 'char', 'bpchar', 0),
  varchar: type(1043, 'varchar', 'text', 0),
  date: type(1082, 'date', 'date', 4),
  timestamp: type(1114, 'timestamp', 'timestamp', 8),
  timestamptz: type(1184, 'timestamptz', 'timestamptz', 8),
  numeric: type(1700, 'numeric', 'numeric', 0),
  uuid: type(2950, 'uuid', 'uuid', 16),
} as const satisfies Record<string, ValueType>;

const BY_OID: ReadonlyMap<number, ValueType> = new Map(Object.values(TYPES).map((t) => [t.oid, t]));

export function typeOf(oid: number): ValueType | undefined {
  return BY_OID.get(oid);
}

/** Bounds of an integer type, inclusive. */
export function intBounds(size: number): { min: bigint; max: bigint } {
  const max = 2n ** BigInt(size * 8 - 1) - 1n;
  return { min: -max - 1n, max };
}

/** Characters a varchar(n) or char(n) holds; undefined: no limit (typmod -1). */
export function charLimit(typmod: number): number | undefined {
  return typmod >= 4 ? typmod - 4 : undefined;
}
