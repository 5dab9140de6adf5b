/** Reads templates back. Counts and room are checked before anything is allocated for them. */
import { corrupt } from '../header.ts';
import type { Slices } from './slices.ts';
import type { StreamSource } from './streams.ts';
import { renderTemplates, type TemplateColumns } from './template-render.ts';
import { RUNS_MAX, SKELETONS_MAX } from './template-skeleton.ts';
import { LEFT_OVER_MAX } from './template-split.ts';
import type { Columns } from './text/codec.ts';
import { DIGITS_MAX } from './text/digits.ts';
import { naturals } from './text/whole.ts';

/** How many digits a run has, part of the format. 1 to 15: so many, zeros in front. */
export const Width = { natural: 0, follow: DIGITS_MAX + 1, asBefore: DIGITS_MAX + 2 } as const;

/** How the ends of literals are told, part of the format. */
export const Literals = { measured: 0, terminated: 1 } as const;

const NUMBER_MAX = 10 ** DIGITS_MAX - 1;
const NONE = -1;
const NO_NUMBERS = new Float64Array(0);

/** @throws DroverError `block.corrupt` */
export function decodeTemplates(columns: Columns, source: StreamSource, count: number): Slices {
  const { numbers } = source;
  const total = numbers.varint();
  const leftOver = numbers.varint();
  const skeletons = numbers.varint();
  const kinds = skeletons + (leftOver > 0 ? 1 : 0);
  if (leftOver > count * LEFT_OVER_MAX || skeletons > SKELETONS_MAX || (kinds === 0 && count > 0)) {
    throw corrupt('values of no skeleton', { leftOver, skeletons });
  }
  source.spend(total + 16 * count);
  const mode = numbers.u8();
  if (mode > Literals.terminated) throw corrupt('literals are stored in an unknown way', { mode });
  const read: TemplateColumns[] = [];
  for (let s = 0; s < skeletons; s++) read.push(readSkeleton(source, mode));
  const ids = kinds > 1 ? naturals(columns, source, count, kinds - 1) : new Float64Array(count);
  if (leftOver > 0) for (let i = 0; i < count; i++) ids[i] = (ids[i] as number) - 1;
  const counts = new Uint32Array(skeletons);
  let others = 0;
  for (let i = 0; i < count; i++) {
    const id = ids[i] as number;
    if (id < 0) others++;
    else counts[id] = (counts[id] as number) + 1;
  }
  if (others !== leftOver) throw corrupt('values are left over', { leftOver, others });
  readRuns(columns, source, read, counts);
  const texts = leftOver > 0 ? columns.decodeStrings(source, leftOver) : null;
  return renderTemplates({ skeletons: read, ids, texts, total });
}

function readSkeleton(source: StreamSource, mode: number): TemplateColumns {
  const runs = source.numbers.varint();
  if (runs > RUNS_MAX) throw corrupt('a skeleton has too many runs', { runs });
  const literals = Array.from({ length: runs + 1 }, () => readLiteral(source, mode));
  return { literals, numbers: [], widths: [], next: 0 };
}

function readLiteral({ numbers, text }: StreamSource, mode: number): Buffer {
  if (mode === Literals.measured) {
    const length = numbers.varint();
    const start = text.take(length);
    return text.bytes.subarray(start, start + length);
  }
  const start = text.at;
  while (text.u8() !== 0);
  return text.bytes.subarray(start, text.at - 1);
}

function readRuns(
  columns: Columns,
  source: StreamSource,
  read: readonly TemplateColumns[],
  counts: Uint32Array,
): void {
  const pooled = read.length > 1 ? source.numbers.u8() : 0;
  if (pooled > 1) throw corrupt('runs are stored in an unknown way', { pooled });
  /** Runs whose numbers come at the end, all together. */
  const waiting: { readonly to: Float64Array[]; readonly run: number; readonly count: number }[] = [];
  const repeated: { readonly to: Float64Array[]; readonly run: number; readonly before: number }[] = [];
  let total = 0;
  read.forEach(({ literals, numbers, widths }, s) => {
    const count = counts[s] as number;
    for (let run = 0; run < literals.length - 1; run++) {
      const before = readWidths(columns, source, widths, count);
      if (before === NONE && pooled === 0) {
        numbers.push(naturals(columns, source, count, NUMBER_MAX));
        continue;
      }
      numbers.push(NO_NUMBERS);
      if (before !== NONE) repeated.push({ to: numbers, run, before });
      else {
        waiting.push({ to: numbers, run, count });
        total += count;
      }
    }
  });
  const pool = total === 0 ? NO_NUMBERS : naturals(columns, source, total, NUMBER_MAX);
  let at = 0;
  for (const { to, run, count } of waiting) {
    to[run] = pool.subarray(at, at + count);
    at += count;
  }
  for (const { to, run, before } of repeated) to[run] = to[before] as Float64Array;
}

/** @returns which run before has the same numbers, or {@link NONE} */
function readWidths(
  columns: Columns,
  source: StreamSource,
  widths: (number | Float64Array)[],
  count: number,
): number {
  const width = source.numbers.varint();
  if (width === Width.asBefore) {
    const before = source.numbers.varint();
    const same = widths[before];
    if (same === undefined) throw corrupt('a run repeats one that is not there', { before });
    widths.push(same);
    return before;
  }
  if (width > Width.follow) throw corrupt('a run of digits has no such width', { width });
  widths.push(width === Width.follow ? naturals(columns, source, count, DIGITS_MAX) : width);
  return NONE;
}
