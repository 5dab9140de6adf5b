/**
 * Branded identifiers. A constructor parses and throws; inside the system the brand is trusted.
 */
import { DroverError } from './errors.ts';

declare const brand: unique symbol;
type Brand<T, B extends string> = T & { readonly [brand]: B };

/** Name of a tenant as its rows spell it (text, integer or uuid in text form), 1 to 200 bytes. */
export type TenantId = Brand<string, 'TenantId'>;
/** Name of a cluster: `[a-z][a-z0-9-]{0,30}`; it is a token of subjects, stream and slot names. */
export type ClusterId = Brand<string, 'ClusterId'>;
/** Number in a placement that only grows; 0 means "never placed". Fits a PostgreSQL bigint. */
export type Epoch = Brand<number, 'Epoch'>;

/** Tenant of reference tables. */
export const SHARED = '_shared' as TenantId;
/** Tenant of rows whose tenant column is NULL: published, counted, replicated to nobody. */
export const UNASSIGNED = '_unassigned' as TenantId;

const RESERVED: ReadonlySet<string> = new Set([SHARED, UNASSIGNED]);

/** @throws DroverError `config.invalid_name` when empty, too long, or reserved (leading underscore). */
export function tenantId(text: string): TenantId {
  const bytes = Buffer.byteLength(text);
  if (bytes === 0 || bytes > 200 || text.includes('\0') || (text.startsWith('_') && !RESERVED.has(text))) {
    throw new DroverError('config.invalid_name', `"${text.slice(0, 60)}" is not a tenant name`, {
      hint: 'use 1 to 200 bytes, not starting with an underscore',
    });
  }
  return text as TenantId;
}

/** @throws DroverError `config.invalid_name` */
export function clusterId(text: string): ClusterId {
  if (!/^[a-z][a-z0-9-]{0,30}$/.test(text)) {
    throw new DroverError('config.invalid_name', `"${text.slice(0, 60)}" is not a cluster name`, {
      hint: 'use a lower-case letter, then up to 30 of a-z, 0-9 and -; for example "east"',
    });
  }
  return text as ClusterId;
}

/** @throws DroverError `internal.assertion` when not a non-negative safe integer. */
export function epoch(value: number | string | bigint): Epoch {
  const n = Number(value);
  if (!Number.isSafeInteger(n) || n < 0) {
    throw new DroverError('internal.assertion', `epoch out of range: ${String(value)}`);
  }
  return n as Epoch;
}

/** A tenant as one token of a NATS subject or KV key: bytes outside `[A-Za-z0-9_-]` become `=XX`. */
export function tenantToken(tenant: TenantId): string {
  if (/^[A-Za-z0-9_-]+$/.test(tenant)) return tenant;
  let out = '';
  for (const byte of Buffer.from(tenant)) {
    const ch = String.fromCharCode(byte);
    out += /[A-Za-z0-9_-]/.test(ch) ? ch : `=${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return out;
}

/** Inverse of {@link tenantToken}. */
export function tenantFromToken(token: string): TenantId {
  if (!token.includes('=')) return tenantId(token);
  const latin1 = token.replace(/=([0-9A-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return tenantId(Buffer.from(latin1, 'latin1').toString('utf8'));
}

/** Partition of a tenant, 0 to `partitions - 1`: FNV-1a (32 bit) of its UTF-8 bytes. Part of the wire contract. */
export function partitionOf(tenant: TenantId, partitions: number): number {
  let h = 0x811c9dc5;
  for (const byte of Buffer.from(tenant)) h = Math.imul(h ^ byte, 0x01000193);
  return (h >>> 0) % partitions;
}
