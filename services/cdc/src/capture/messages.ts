/** The logical messages Drover writes into a source's WAL, parsed. What is not ours, or not in form, is null. */
import { type Epoch, epoch, type TenantId, tenantId } from '@drover/core';
import { BARRIER_PREFIX, DDL_PREFIX, EPOCH_PREFIX, HEARTBEAT_PREFIX } from '@drover/pg';
import { type DdlMessage, parseDdl } from './ddl.ts';

export type DroverMessage =
  | { readonly kind: 'heartbeat' }
  | DdlMessage
  | { readonly kind: 'barrier'; readonly tenant: TenantId | '*'; readonly id: string }
  | { readonly kind: 'epoch'; readonly tenant: TenantId; readonly epoch: Epoch };

/**
 * Any role may emit logical messages, so content is not trusted: a message in no known form is left out, it never stops
 * the reader.
 */
export function parseDroverMessage(prefix: string, content: Buffer): DroverMessage | null {
  if (prefix === HEARTBEAT_PREFIX) return { kind: 'heartbeat' };
  if (prefix !== BARRIER_PREFIX && prefix !== EPOCH_PREFIX && prefix !== DDL_PREFIX) return null;
  try {
    const body: unknown = JSON.parse(content.toString('utf8'));
    if (typeof body !== 'object' || body === null) return null;
    if (prefix === DDL_PREFIX) return parseDdl(body);
    if (!('tenant' in body) || typeof body.tenant !== 'string') return null;
    if (prefix === EPOCH_PREFIX) {
      if (!('epoch' in body) || typeof body.epoch !== 'number') return null;
      return { kind: 'epoch', tenant: tenantId(body.tenant), epoch: epoch(body.epoch) };
    }
    const id = 'id' in body && typeof body.id === 'string' ? body.id : '';
    return { kind: 'barrier', tenant: body.tenant === '*' ? '*' : tenantId(body.tenant), id };
  } catch {
    return null;
  }
}
