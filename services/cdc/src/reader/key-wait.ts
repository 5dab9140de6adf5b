/**
 * A tenant that is to be sealed and whose key cannot be had: the reader stands still until it can be. The source keeps its WAL, and is not asked for it
 * again and again meanwhile. Nothing is published unsealed.
 */
import type { SealingKeys } from '@drover/block';
import { DroverError, sleep, type TenantId } from '@drover/core';

/** No event tells that a file holds another master key. */
const LOOK_MS = 500;

/** Whose key was missing; null: the error says something else. */
export function sealedTenantOf(error: unknown): TenantId | null {
  if (!(error instanceof DroverError) || error.code !== 'key.unavailable') return null;
  const { tenant } = error.facts;
  return typeof tenant === 'string' ? (tenant as TenantId) : null; // whoever throws it names one
}

/** Resolves when the tenant's key can be had, or the signal aborts. `told`: why it still cannot, each time that changes. */
export async function keyOf(
  keys: SealingKeys,
  tenant: TenantId,
  signal: AbortSignal,
  told: (error: DroverError) => void = () => undefined,
): Promise<void> {
  let reason: string | null = null;
  do {
    try {
      keys.current(tenant);
      return;
    } catch (error) {
      if (!(error instanceof DroverError) || error.code !== 'key.unavailable') throw error;
      if (reason !== error.message) told(error);
      reason = error.message;
    }
  } while (await sleep(LOOK_MS, signal));
}
