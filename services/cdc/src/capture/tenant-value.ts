/**
 * The value of a tenant column as pgoutput sends it, to the text that names the tenant everywhere else: what
 * `column::text` gives. Binary forms: int2, int4, int8 big-endian, uuid 16 bytes, text as it is (manual, 8.12; send functions in
 * src/backend/utils/adt).
 */
import { type TenantId, tenantId } from '@drover/core';

export type ValueKind = 'text' | 'bpchar' | 'integer' | 'uuid' | 'unsupported';

/** Types that are not built in: a domain has a base type, an enum or citext is sent as its text. */
export interface TypeFacts {
  readonly baseOid: number;
  readonly sentAsText: boolean;
}

const BUILT_IN: ReadonlyMap<number, ValueKind> = new Map([
  [19, 'text'], // name
  [20, 'integer'], // int8
  [21, 'integer'], // int2
  [23, 'integer'], // int4
  [25, 'text'],
  [1042, 'bpchar'], // char(n)
  [1043, 'text'], // varchar
  [2950, 'uuid'],
]);

export function valueKind(typeOid: number, types: ReadonlyMap<number, TypeFacts>): ValueKind {
  const builtIn = BUILT_IN.get(typeOid);
  if (builtIn !== undefined) return builtIn;
  const facts = types.get(typeOid);
  if (facts === undefined) return 'unsupported';
  if (facts.sentAsText) return 'text';
  return BUILT_IN.get(facts.baseOid) ?? 'unsupported';
}

/**
 * The canonical text, or null when the bytes are not a value of that kind. `binary` false: the source sent text, which is
 * canonical already.
 */
export function valueText(
  kind: ValueKind,
  binary: boolean,
  bytes: Buffer,
  start: number,
  end: number,
): string | null {
  if (kind === 'text') return bytes.toString('utf8', start, end);
  if (kind === 'bpchar') return bytes.toString('utf8', start, end).replace(/ +$/, '');
  if (kind === 'unsupported') return null;
  if (!binary) return bytes.toString('latin1', start, end);
  if (kind === 'uuid') {
    if (end - start !== 16) return null;
    const hex = bytes.toString('hex', start, end);
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }
  switch (end - start) {
    case 2:
      return String(bytes.readInt16BE(start));
    case 4:
      return String(bytes.readInt32BE(start));
    case 8:
      return String(bytes.readBigInt64BE(start));
    default:
      return null;
  }
}

/** The tenant a row names, or null when the text cannot name one: rows never reach `_shared` by spelling it. */
export function rowTenant(text: string): TenantId | null {
  if (text.startsWith('_')) return null;
  try {
    return tenantId(text);
  } catch {
    return null;
  }
}
