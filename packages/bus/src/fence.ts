/**
 * How a new publisher shuts its predecessors out for good (I1, pitfall 62).
 *
 * Every message expects its predecessor's sequence, and many are in flight. That alone refuses a stale publisher only as long as
 * it meets the sequence it expects *first*: of its messages A, B, C on the wire (expecting 7, 8, 9), A is refused when a new publisher has written 8,
 * but B, which expects 8, would be taken: a hole where A should be. So the first thing a publisher writes moves the stream's end beyond every sequence
 * an older one can still expect: empty messages, as many as may be in flight, together with its first block in one atomic
 * batch (all or nothing, ADR-50 of NATS, servers from 2.12). Older servers get the same messages one by one: then the window is some
 * milliseconds instead of as long as a network may hold bytes back.
 */
import type { Bus } from './connect.ts';
import { versionAtLeast } from './connect.ts';

/**
 * No publisher of any version has more messages in flight. Part of the contract between versions: may shrink in
 * one release only when the fence shrinks in a later one.
 */
export const IN_FLIGHT_MESSAGES_MAX = 64;

/** Messages before a publisher's first block: with that block the end moves by {@link IN_FLIGHT_MESSAGES_MAX}. */
export const FENCE_MESSAGES = IN_FLIGHT_MESSAGES_MAX - 1;

export function canFenceAtomically(bus: Bus): boolean {
  return versionAtLeast(bus.serverVersion, 2, 12);
}

/** The stream or the server does not know atomic batches: error codes "disabled", "unsupported header", "not supported in batch". */
const NO_BATCHES: ReadonlySet<number> = new Set([10174, 10177]);

export function batchesRefused(code: number): boolean {
  return NO_BATCHES.has(code);
}
