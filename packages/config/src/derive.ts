/** What is derived from the one secret, so that nothing else needs to be kept. */
import { createHmac } from 'node:crypto';

/** Password of a role on every cluster: base64url(HMAC-SHA256(secret, "role:" + role)). */
export function derivePassword(secret: string, role: string): string {
  return createHmac('sha256', secret).update(`role:${role}`).digest('base64url');
}

/** Key of the signed tenant context, 32 bytes. */
export function deriveContextKey(secret: string): Buffer {
  return createHmac('sha256', secret).update('context').digest();
}
