/** What a column of numbers starts with: how it was transformed (low 4 bits) and how the rest is laid out. Part of the format. */
import type { Layout } from './naturals.ts';

/** 1 to 6 are those of `linear.ts`. */
export const Code = {
  constant: 0,
  step: 7,
  cursor: 8,
  runs: 9,
  dict: 10,
  exceptions: 11,
  based: 12,
  halves: 13,
  plain: 14,
} as const;

/** Codecs that are made of columns of numbers nest this often. */
export const DEPTH_MAX = 2;

export function header(code: number, layout: Layout): number {
  return code | (layout << 4);
}

export function codeOf(header: number): number {
  return header & 15;
}

export function layoutOf(header: number): Layout {
  // The cast is checked where the layout is used: an unknown one is refused.
  return (header >> 4) as Layout;
}
