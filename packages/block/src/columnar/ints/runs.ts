/** Runs of equal numbers: the values and the lengths, each a column of its own. */
import { corrupt } from '../../header.ts';
import type { StreamSource } from '../streams.ts';

export function countRuns(values: Float64Array, count: number): number {
  let runs = 1;
  for (let i = 1; i < count; i++) if (values[i] !== values[i - 1]) runs++;
  return runs;
}

export interface Runs {
  readonly values: Float64Array;
  /** Less one. */
  readonly lengths: Float64Array;
}

export function findRuns(values: Float64Array, count: number): Runs {
  const runs = countRuns(values, count);
  const out = { values: new Float64Array(runs), lengths: new Float64Array(runs) };
  let run = 0;
  let start = 0;
  for (let i = 1; i <= count; i++) {
    if (i < count && values[i] === values[start]) continue;
    out.values[run] = values[start] as number;
    out.lengths[run++] = i - start - 1;
    start = i;
  }
  return out;
}

/** @throws DroverError `block.corrupt` */
export function expandRuns(runs: Runs, count: number, source: StreamSource): Float64Array {
  source.spend(count * 8);
  const out = new Float64Array(count);
  let at = 0;
  for (let run = 0; run < runs.values.length; run++) {
    const end = at + (runs.lengths[run] as number) + 1;
    if (!(end <= count && end > at)) throw corrupt('runs are longer than their column');
    out.fill(runs.values[run] as number, at, end);
    at = end;
  }
  if (at !== count) throw corrupt('runs are shorter than their column');
  return out;
}
