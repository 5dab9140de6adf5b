/**
 * Changes as JSON for the ledger: for a person, and for `drover ledger`. Common types are decoded; of others the bytes are
 * given in base64. Bounded: what does not fit is counted, never dropped silently (I8).
 */
import type { Relation } from '@drover/block';
import { PG_EPOCH_UNIX_MS } from '@drover/core';
import { DELETE, type DecodedBlock, INSERT, TRUNCATE, UPDATE } from './decoded-block.ts';
import { BINARY, columnCount, NULL, nextColumn, TEXT } from './tuple.ts';

export type JsonValue =
  | null
  | boolean
  | number
  | string
  | { readonly base64: string }
  | { readonly unchanged: true };
type JsonRow = Record<string, JsonValue>;

export interface DescribedChange {
  readonly table: string;
  readonly op: 'insert' | 'update' | 'delete' | 'truncate';
  readonly key?: JsonRow;
  readonly old?: JsonRow;
  readonly new?: JsonRow;
}

export interface Described {
  readonly changes: readonly DescribedChange[];
  /** All changes of the transaction's part. */
  readonly total: number;
  /** True when `changes` is not all of them. */
  readonly truncated: boolean;
}

export const DETAIL_BYTES_MAX = 64 * 1024;
const VALUE_CHARS_MAX = 8 * 1024;

/** Changes `from` to `to - 1`. */
export function describeChanges(
  block: DecodedBlock,
  from: number,
  to: number,
  bytesMax = DETAIL_BYTES_MAX,
): Described {
  const changes: DescribedChange[] = [];
  let size = 0;
  for (let i = from; i < to; i++) {
    const change = describeChange(block, i);
    size += JSON.stringify(change).length;
    if (size > bytesMax && changes.length > 0) break;
    changes.push(change);
  }
  return { changes, total: to - from, truncated: changes.length < to - from };
}

function describeChange(block: DecodedBlock, i: number): DescribedChange {
  const relation = block.relations[block.relation[i] as number];
  if (relation === undefined) return { table: '?', op: 'truncate' };
  const table = `${relation.schema}.${relation.name}`;
  const old = (): JsonRow =>
    describeTuple(block.bytes, block.at[i * 4] as number, block.at[i * 4 + 1] as number, relation);
  const now = (): JsonRow =>
    describeTuple(block.bytes, block.at[i * 4 + 2] as number, block.at[i * 4 + 3] as number, relation);
  const keyOnly = block.oldKind[i] === 0x4b;
  switch (block.op[i] ?? 0) {
    case INSERT:
      return { table, op: 'insert', new: now() };
    case DELETE:
      return keyOnly
        ? { table, op: 'delete', key: keyColumns(old(), relation) }
        : { table, op: 'delete', old: old() };
    case UPDATE:
      if (block.oldKind[i] === 0) return { table, op: 'update', new: now() };
      return keyOnly
        ? { table, op: 'update', key: keyColumns(old(), relation), new: now() }
        : { table, op: 'update', old: old(), new: now() };
    case TRUNCATE: {
      const names = block.truncates.get(i)?.relations.map((index) => {
        const r = block.relations[index];
        return r === undefined ? '?' : `${r.schema}.${r.name}`;
      });
      return { table: (names ?? [table]).join(', '), op: 'truncate' };
    }
    default:
      return { table, op: 'truncate' };
  }
}

function keyColumns(row: JsonRow, relation: Relation): JsonRow {
  return Object.fromEntries(relation.columns.flatMap((c) => (c.key ? [[c.name, row[c.name] ?? null]] : [])));
}

export function describeTuple(bytes: Buffer, start: number, end: number, relation: Relation): JsonRow {
  const row: JsonRow = {};
  const count = Math.min(columnCount(bytes, start), relation.columns.length);
  let at = start + 2;
  for (let i = 0; i < count; i++) {
    const next = nextColumn(bytes, at, end);
    const column = relation.columns[i];
    if (column !== undefined) row[column.name] = describeValue(bytes, at, next, column.typeOid);
    at = next;
  }
  return row;
}

function describeValue(bytes: Buffer, at: number, next: number, type: number): JsonValue {
  const kind = bytes[at];
  if (kind === NULL) return null;
  if (kind === TEXT) return clip(bytes.toString('utf8', at + 5, next));
  if (kind !== BINARY) return { unchanged: true };
  const value = bytes.subarray(at + 5, next);
  const text = decodeBinary(value, type);
  return text ?? { base64: clip(value.toString('base64')) };
}

const clip = (text: string): string =>
  text.length <= VALUE_CHARS_MAX ? text : `${text.slice(0, VALUE_CHARS_MAX)}…`;

/** Text form of a value in its type's send format (PostgreSQL source, utils/adt); undefined for types not known here. */
export function decodeBinary(value: Buffer, type: number): JsonValue | undefined {
  switch (type) {
    case 16:
      return value.length === 1 ? value[0] === 1 : undefined;
    case 21:
      return value.length === 2 ? value.readInt16BE(0) : undefined;
    case 23:
      return value.length === 4 ? value.readInt32BE(0) : undefined;
    case 26:
      return value.length === 4 ? value.readUInt32BE(0) : undefined;
    case 20: // bigint as text: JSON numbers end at 2^53
      return value.length === 8 ? value.readBigInt64BE(0).toString() : undefined;
    case 700:
      return value.length === 4 ? finite(value.readFloatBE(0)) : undefined;
    case 701:
      return value.length === 8 ? finite(value.readDoubleBE(0)) : undefined;
    case 18:
    case 19:
    case 25:
    case 114:
    case 1042:
    case 1043:
      return clip(value.toString('utf8'));
    case 3802: // jsonb: version byte, then text
      return value[0] === 1 ? clip(value.toString('utf8', 1)) : undefined;
    case 17:
      return clip(`\\x${value.toString('hex')}`);
    case 2950:
      return value.length === 16
        ? value.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
        : undefined;
    case 1082:
      return value.length === 4 ? day(value.readInt32BE(0)) : undefined;
    case 1114:
    case 1184:
      return value.length === 8 ? instant(value.readBigInt64BE(0), type === 1184) : undefined;
    case 1700:
      return numeric(value);
    default:
      return undefined;
  }
}

const finite = (n: number): JsonValue => (Number.isFinite(n) ? n : String(n));

function day(days: number): string {
  if (days === 0x7fffffff) return 'infinity';
  if (days === -0x80000000) return '-infinity';
  const date = new Date(PG_EPOCH_UNIX_MS + days * 86_400_000);
  return Number.isNaN(date.getTime()) ? `${days} days after 2000-01-01` : date.toISOString().slice(0, 10);
}

function instant(us: bigint, zone: boolean): string {
  if (us === 0x7fff_ffff_ffff_ffffn) return 'infinity';
  if (us === -0x8000_0000_0000_0000n) return '-infinity';
  const ms = us / 1000n - (us % 1000n < 0n ? 1n : 0n);
  const date = new Date(Number(ms) + PG_EPOCH_UNIX_MS);
  if (Number.isNaN(date.getTime())) return `${us} us after 2000-01-01`;
  const micros = (us - ms * 1000n).toString().padStart(3, '0');
  return `${date.toISOString().slice(0, -1).replace('T', ' ')}${micros}${zone ? '+00' : ''}`;
}

/** numeric_send: ndigits, weight, sign, dscale, then digits base 10000. */
function numeric(value: Buffer): string | undefined {
  if (value.length < 8) return undefined;
  const digits = value.readUInt16BE(0);
  const weight = value.readInt16BE(2);
  const sign = value.readUInt16BE(4);
  const scale = value.readUInt16BE(6);
  if (sign === 0xc000) return 'NaN';
  if (sign === 0xd000) return 'Infinity';
  if (sign === 0xf000) return '-Infinity';
  if (value.length !== 8 + digits * 2) return undefined;
  const digit = (i: number): string =>
    (i >= 0 && i < digits ? value.readUInt16BE(8 + i * 2) : 0).toString().padStart(4, '0');
  let whole = '';
  for (let i = 0; i <= weight; i++) whole += digit(i);
  whole = whole.replace(/^0+(?=\d)/, '') || '0';
  let fraction = '';
  for (let i = weight + 1; fraction.length < scale; i++) fraction += digit(i);
  const text = scale > 0 ? `${whole}.${fraction.slice(0, scale)}` : whole;
  return sign === 0x4000 ? `-${text}` : text;
}
