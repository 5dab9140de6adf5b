/**
 * Memory that is used again: one growing array per purpose. Everything here is synchronous, so a purpose has one user at a time; who keeps an
 * array over a call that may use the same purpose must copy it.
 */

type Growing<T> = { current: T; make: (length: number) => T };

function growing<T extends { length: number }>(make: (length: number) => T): Growing<T> {
  return { current: make(1024), make };
}

/** What one huge block needs is not kept. */
const KEPT_MAX = 262_144;

/** At least `length` long, content undefined. */
export function scratch<T extends { length: number }>(slot: Growing<T>, length: number): T {
  if (length > KEPT_MAX) return slot.make(length);
  if (slot.current.length < length) slot.current = slot.make(Math.max(length, slot.current.length * 2));
  return slot.current;
}

const floats = (length: number) => new Float64Array(length);
const bytes = (length: number) => new Uint8Array(length);

export const Scratch = {
  residuals: growing(floats),
  trial: growing(floats),
  highs: growing(floats),
  lows: growing(floats),
  sample: growing(floats),
  tokens: growing(bytes),
  words: growing((length) => new Uint16Array(length)),
  ids: growing(floats),
} as const;
