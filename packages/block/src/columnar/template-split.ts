/** Values taken apart: which skeleton each has, and the numbers of its runs as columns. */
import type { Slices } from './slices.ts';
import { RUNS_MAX, SKELETONS_MAX, type Skeleton, type SkeletonTable } from './template-skeleton.ts';

/** A skeleton per value is no template: so many are allowed at first, and one more per so many values. */
const SKELETONS_AT_FIRST = 16;
const VALUES_PER_SKELETON = 8;
/** Share of the values; it also bounds how deep templates can be in the text left over by others. */
export const LEFT_OVER_MAX = 0.25;

/** Values taken apart: per value its skeleton (in order of first use; -1 left over), and the runs of all values one behind the other. */
export interface Parts {
  readonly ids: Int16Array;
  /** Ids in the table of the skeletons in use. */
  readonly used: number[];
  readonly counts: number[];
  readonly leftOver: number[];
  numbers: Float64Array;
  widths: Uint8Array;
}

export function takeApart(values: Slices, table: SkeletonTable): Parts | null {
  const { bytes, starts, ends, count } = values;
  const parts: Parts = {
    ids: new Int16Array(count),
    used: [],
    counts: [],
    leftOver: [],
    numbers: new Float64Array(count * 2),
    widths: new Uint8Array(count * 2),
  };
  const places = new Int16Array(SKELETONS_MAX).fill(-1);
  let runs = 0;
  for (let i = 0; i < count; i++) {
    const skeleton = table.match(bytes, starts[i] as number, ends[i] as number);
    if (skeleton === null) {
      parts.ids[i] = -1;
      parts.leftOver.push(i);
      if (parts.leftOver.length > SKELETONS_AT_FIRST + count * LEFT_OVER_MAX) return null;
      continue;
    }
    let place = places[skeleton.id] as number;
    if (place < 0) {
      place = parts.used.length;
      places[skeleton.id] = place;
      parts.used.push(skeleton.id);
      parts.counts.push(0);
      if (parts.used.length > SKELETONS_AT_FIRST + i / VALUES_PER_SKELETON) return null;
    }
    parts.ids[i] = place;
    parts.counts[place] = (parts.counts[place] as number) + 1;
    if (runs + RUNS_MAX > parts.numbers.length) growRuns(parts);
    for (let run = 0; run < skeleton.runs; run++) {
      parts.numbers[runs] = table.values[run] as number;
      parts.widths[runs++] = (table.ends[run] as number) - (table.starts[run] as number);
    }
  }
  return runs === 0 || parts.leftOver.length > count * LEFT_OVER_MAX ? null : parts;
}

function growRuns(parts: Parts): void {
  const length = parts.numbers.length * 2 + RUNS_MAX;
  const numbers = new Float64Array(length);
  const widths = new Uint8Array(length);
  numbers.set(parts.numbers);
  widths.set(parts.widths);
  parts.numbers = numbers;
  parts.widths = widths;
}

/** A skeleton's values in the order of the rows, run by run. */
export interface SkeletonRuns {
  readonly skeleton: Skeleton;
  readonly numbers: readonly Float64Array[];
  readonly widths: readonly Uint8Array[];
}

/** Of each skeleton in use. */
export function runsOf(parts: Parts, table: SkeletonTable): SkeletonRuns[] {
  const all = parts.used.map((id, place): SkeletonRuns => {
    const skeleton = table.all[id] as Skeleton;
    const count = parts.counts[place] as number;
    return {
      skeleton,
      numbers: Array.from({ length: skeleton.runs }, () => new Float64Array(count)),
      widths: Array.from({ length: skeleton.runs }, () => new Uint8Array(count)),
    };
  });
  const rows = new Uint32Array(all.length);
  let at = 0;
  for (let i = 0; i < parts.ids.length; i++) {
    const place = parts.ids[i] as number;
    if (place < 0) continue;
    const { numbers, widths } = all[place] as SkeletonRuns;
    const row = rows[place] as number;
    rows[place] = row + 1;
    for (let run = 0; run < numbers.length; run++) {
      (numbers[run] as Float64Array)[row] = parts.numbers[at] as number;
      (widths[run] as Uint8Array)[row] = parts.widths[at++] as number;
    }
  }
  return all;
}

export interface SplitSkeleton extends SkeletonRuns {
  /** The runs that differ from row to row. */
  readonly varying: readonly number[];
  /** What stands before, between and behind them. */
  readonly literals: readonly Buffer[];
}

/** Runs that say the same in all rows become literal. */
export function splitSkeleton(runs: SkeletonRuns): SplitSkeleton {
  const { skeleton, numbers, widths } = runs;
  const varying: number[] = [];
  const literals: Buffer[] = [];
  let parts: Buffer[] = [];
  let at = 0;
  skeleton.ends.forEach((end, run) => {
    parts.push(skeleton.literal.subarray(at, end));
    at = end;
    const values = numbers[run];
    const digits = widths[run];
    if (values === undefined || digits === undefined) return;
    if (isConstant(values, digits)) {
      parts.push(Buffer.from(String(values[0]).padStart(digits[0] as number, '0')));
      return;
    }
    varying.push(run);
    literals.push(Buffer.concat(parts));
    parts = [];
  });
  literals.push(Buffer.concat(parts));
  return { ...runs, varying, literals };
}

function isConstant(numbers: Float64Array, widths: Uint8Array): boolean {
  for (let i = 1; i < numbers.length; i++) {
    if (numbers[i] !== numbers[0] || widths[i] !== widths[0]) return false;
  }
  return true;
}

export function sameRuns(
  numbers: Float64Array,
  widths: Uint8Array,
  others: Float64Array | undefined,
  otherWidths: Uint8Array | undefined,
): boolean {
  if (others === undefined || otherWidths === undefined) return false;
  for (let i = 0; i < numbers.length; i++) {
    if (numbers[i] !== others[i] || widths[i] !== otherWidths[i]) return false;
  }
  return true;
}
