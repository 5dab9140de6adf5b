/**
 * The proxy's half of the tenant context: what it sets `drover.context` to. Matches `context.sql.ts` byte for byte. Pure.
 */
import { createHmac } from 'node:crypto';

/** A context that verifies in exactly one backend: the one whose attach() returned `backendNumber`. Set it with a bound parameter. */
export function signContext(
  key: Buffer,
  tenantToken: string,
  epoch: number,
  backendNumber: number | bigint | string,
): string {
  const message = `${tenantToken}|${epoch}`;
  return `${message}|${createHmac('sha256', key).update(`${message}|${backendNumber}`).digest('hex')}`;
}

/** HMAC's padded keys (RFC 2104): sha256(outer || sha256(inner || message)) is the HMAC. */
export function hmacPads(key: Buffer): { inner: Buffer; outer: Buffer } {
  if (key.length > 64) throw new RangeError('the context key is at most 64 bytes');
  const inner = Buffer.alloc(64, 0x36);
  const outer = Buffer.alloc(64, 0x5c);
  for (const [i, byte] of key.entries()) {
    inner.writeUInt8(byte ^ 0x36, i);
    outer.writeUInt8(byte ^ 0x5c, i);
  }
  return { inner, outer };
}
