/** One figure of this benchmark: Drover's, zstd-3's on the same bytes, and what it must come to. Pure. */
import { type BenchCase, summarize } from '../lib/report.ts';

export interface Gate {
  readonly atLeast?: number;
  readonly atMost?: number;
}

export interface GatedCase extends BenchCase {
  readonly gate?: Gate;
  readonly pass?: boolean;
}

export interface Figure {
  readonly case: string;
  readonly metric: string;
  readonly unit: string;
  readonly drover: number;
  readonly peer: number;
  readonly peerName: string;
  readonly gate?: Gate | undefined;
}

export const RATIO = 'raw/stored';

/** A figure is judged as it was measured, not as it is rounded for print. */
export function toCase({ gate, ...figure }: Figure): GatedCase {
  const summary = summarize({ ...figure, drover: [figure.drover], peer: [figure.peer] });
  return gate === undefined ? summary : { ...summary, gate, pass: passes(gate, figure.drover) };
}

export function passes({ atLeast, atMost }: Gate, value: number): boolean {
  return (atLeast === undefined || value >= atLeast) && (atMost === undefined || value <= atMost);
}

/** Least `atLeast`, or none. */
export function gateOf(atLeast: number | undefined): Gate | undefined {
  return atLeast === undefined ? undefined : { atLeast };
}

export function rowsText(rows: number): string {
  return `${rows.toLocaleString('en')} ${rows === 1 ? 'row' : 'rows'}`;
}
