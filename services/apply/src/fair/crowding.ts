/**
 * Who crowds the others of a partition out: more waits for the main lane than it takes at once, and most of it is one tenant's, by more than its
 * weight allows. That tenant goes on in a lane of its own, at its own pace, and the main lane passes over it to what is behind. Pure.
 */
import type { Entry } from '../changes/entry.ts';

/** So many times what its weight allows. */
const EXCESS = 2;
/** This share of all that waits is too much of anyone, and less than that of nobody. */
const TOO_MUCH = 0.75;
const FAIR_ENOUGH = 0.5;
/** What waits must be worth the change. */
const BYTES_MIN = 256 * 1024;

/** Null: nobody does. `weightOf` is asked of those with the most only. */
export function crowderOf(
  waiting: readonly Pick<Entry, 'tenant' | 'size' | 'kind'>[],
  weightOf: (tenant: string) => number,
): string | null {
  const bytesOf = new Map<string, number>();
  let all = 0;
  for (const { tenant, size, kind } of waiting) {
    all += size;
    // Rows of transactions in progress are passed over anyway.
    if (kind === 'block' && tenant !== '') bytesOf.set(tenant, (bytesOf.get(tenant) ?? 0) + size);
  }
  let most = '';
  let bytes = 0;
  for (const [tenant, size] of bytesOf) {
    if (size <= bytes) continue;
    most = tenant;
    bytes = size;
  }
  if (all < BYTES_MIN || bytes <= FAIR_ENOUGH * all) return null;
  let others = 0;
  for (const tenant of bytesOf.keys()) if (tenant !== most) others += weightOf(tenant);
  const weight = weightOf(most);
  // Alone in what is seen: those who come behind it have a weight, too.
  const allowed = (EXCESS * weight) / (weight + Math.max(1, others));
  return bytes > Math.min(TOO_MUCH, allowed) * all ? most : null;
}
