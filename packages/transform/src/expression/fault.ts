/** A mistake in an expression, for people: what is wrong, and where. */
import type { Fault } from './types.ts';

const SHOWN = 24;

export function describeFault(text: string, { at, wrong }: Fault): string {
  const rest = text.slice(at, at + SHOWN).trim();
  return rest === '' ? `${wrong} (at its end)` : `${wrong} (at character ${at + 1}: ${JSON.stringify(rest)})`;
}
