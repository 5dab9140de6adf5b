/** A decoded column: one entry per row, ready to be put into tuples. */
import { readFixed, writeFixed } from './fixed.ts';
import { isNear } from './ints/wide.ts';
import type { Ints } from './ints.ts';
import { Kind } from './records.ts';
import { fixedSlices, type Slices, totalBytes } from './slices.ts';
import type { StreamSource } from './streams.ts';
import { valueType } from './types.ts';
import { copyBytes, viewOf } from './views.ts';

export interface Flat {
  readonly count: number;
  /** Of all rows, or null: see `kinds`. */
  readonly kind: number | null;
  readonly kinds: Uint8Array | null;
  /** For binary numbers of one width. Rows that are null have 0. */
  readonly ints: Ints | null;
  readonly width: number;
  /** For everything else that has values. Rows that are null have an empty one. */
  readonly slices: Slices | null;
}

export function kindAt(flat: Flat, row: number): number {
  return flat.kind ?? ((flat.kinds as Uint8Array)[row] as number);
}

export function hasValue(kind: number): boolean {
  return kind === Kind.binary || kind === Kind.text;
}

/** Numbers as the bytes they are sent as. */
export function toSlices(flat: Flat, source: StreamSource): Slices {
  if (flat.slices !== null) return flat.slices;
  const { count, ints, width } = flat;
  if (ints === null) return fixedSlices(Buffer.alloc(0), 0, 0, count);
  source.spend(count * (width + 8));
  const bytes = Buffer.allocUnsafe(count * width);
  const places = new Int32Array(count);
  for (let i = 0; i < count; i++) places[i] = i * width;
  writeFixed(ints, width, viewOf(bytes), places);
  return fixedSlices(bytes, 0, width, count);
}

/** Row `rows[i]` of the result is row i of `flat`. */
export function scatter(flat: Flat, rows: Uint32Array): Flat {
  const kinds = flat.kinds === null ? null : new Uint8Array(flat.count);
  if (kinds !== null) for (let i = 0; i < rows.length; i++) kinds[rows[i] as number] = kindAt(flat, i);
  const ints = flat.ints === null ? null : scatterInts(flat.ints, rows);
  const slices = flat.slices === null ? null : scatterSlices(flat.slices, rows);
  return { ...flat, kinds, ints, slices };
}

function scatterInts(values: Ints, rows: Uint32Array): Ints {
  if (values instanceof BigInt64Array) {
    const out = new BigInt64Array(rows.length);
    for (let i = 0; i < rows.length; i++) out[rows[i] as number] = values[i] as bigint;
    return out;
  }
  const out = new Float64Array(rows.length);
  for (let i = 0; i < rows.length; i++) out[rows[i] as number] = values[i] as number;
  return out;
}

function scatterSlices(values: Slices, rows: Uint32Array): Slices {
  const starts = new Uint32Array(rows.length);
  const ends = new Uint32Array(rows.length);
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i] as number;
    starts[row] = values.starts[i] as number;
    ends[row] = values.ends[i] as number;
  }
  return { bytes: values.bytes, starts, ends, count: rows.length };
}

/** `reference` with the rows listed replaced by the rows of `changed`. */
export function replaceRows(reference: Flat, changed: Flat, rows: Uint32Array, source: StreamSource): Flat {
  const { count } = reference;
  source.spend(count * 9);
  const kinds = new Uint8Array(count);
  for (let i = 0; i < count; i++) kinds[i] = kindAt(reference, i);
  for (let i = 0; i < rows.length; i++) kinds[rows[i] as number] = kindAt(changed, i);
  const kind = commonKind(kinds);
  const none = { count, kind, kinds: kind === null ? kinds : null, ints: null, width: 0, slices: null };
  if (reference.ints instanceof Float64Array && changed.ints instanceof Float64Array) {
    if (reference.width === changed.width) {
      const ints = Float64Array.from(reference.ints);
      for (let i = 0; i < rows.length; i++) ints[rows[i] as number] = changed.ints[i] as number;
      return { ...none, ints, width: reference.width };
    }
  }
  return { ...none, slices: splice(toSlices(reference, source), toSlices(changed, source), rows, source) };
}

/** One buffer with all values, those of the rows listed from `changed`. */
function splice(reference: Slices, changed: Slices, rows: Uint32Array, source: StreamSource): Slices {
  const { count } = reference;
  let total = totalBytes(changed);
  let at = 0;
  for (let row = 0; row < count; row++) {
    if (row === rows[at]) at++;
    else total += (reference.ends[row] as number) - (reference.starts[row] as number);
  }
  source.spend(total + 8 * count);
  const bytes = Buffer.allocUnsafe(total);
  const starts = new Uint32Array(count);
  const ends = new Uint32Array(count);
  const into = viewOf(bytes);
  const views = { changed: viewOf(changed.bytes), reference: viewOf(reference.bytes) };
  at = 0;
  let to = 0;
  for (let row = 0; row < count; row++) {
    starts[row] = to;
    if (row === rows[at]) {
      to = copyBytes(views.changed, changed.starts[at] as number, changed.ends[at] as number, into, to);
      at++;
    } else {
      to = copyBytes(
        views.reference,
        reference.starts[row] as number,
        reference.ends[row] as number,
        into,
        to,
      );
    }
    ends[row] = to;
  }
  return { bytes, starts, ends, count };
}

/** The column as near numbers of its type if it is that in every row: what others may be differences from or in the order of. */
export function referenceInts(flat: Flat, typeOid: number, source: StreamSource): Float64Array | null {
  const type = valueType(typeOid, true);
  if (type.kind !== 'ints' || flat.kind !== Kind.binary) return null;
  const ints = flat.ints ?? readFixed(toSlices(flat, source), type.width, type.signed);
  return ints instanceof Float64Array && isNear(ints) ? ints : null;
}

function commonKind(kinds: Uint8Array): number | null {
  for (let i = 1; i < kinds.length; i++) if (kinds[i] !== kinds[0]) return null;
  return kinds[0] ?? null;
}
