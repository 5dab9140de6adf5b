/** Values from their skeletons and the numbers of their runs. The room is fixed beforehand: what would not fit is refused. */
import { corrupt } from '../header.ts';
import type { Slices } from './slices.ts';
import { DIGITS_MAX, digitsOf, POWERS, putNatural, putPadded } from './text/digits.ts';

export interface TemplateColumns {
  /** Before, between and behind the runs. */
  readonly literals: Buffer[];
  readonly numbers: Float64Array[];
  /** Digits of each run: 0 as many as the number has, a constant, or by value. */
  readonly widths: (number | Float64Array)[];
  next: number;
}

export interface Templates {
  readonly skeletons: readonly TemplateColumns[];
  /** Skeleton of each value; -1 the next of `texts`. */
  readonly ids: Float64Array;
  readonly texts: Slices | null;
  readonly total: number;
}

/** @throws DroverError `block.corrupt` unless the values have `total` bytes */
export function renderTemplates(templates: Templates): Slices {
  const { skeletons, ids, texts, total } = templates;
  const count = ids.length;
  const bytes = Buffer.allocUnsafe(total);
  const starts = new Uint32Array(count);
  const ends = new Uint32Array(count);
  let at = 0;
  let text = 0;
  for (let i = 0; i < count; i++) {
    starts[i] = at;
    const id = ids[i] as number;
    if (id >= 0) at = render(skeletons[id] as TemplateColumns, bytes, at);
    else if (texts !== null) {
      const start = texts.starts[text] as number;
      const end = texts.ends[text++] as number;
      at = copy(texts.bytes, start, end, bytes, at);
    }
    ends[i] = at;
  }
  if (at !== total) throw corrupt('values are shorter than announced');
  return { bytes, starts, ends, count };
}

function render(skeleton: TemplateColumns, out: Buffer, start: number): number {
  const { literals, numbers, widths } = skeleton;
  const row = skeleton.next++;
  let at = start;
  for (let run = 0; run < numbers.length; run++) {
    const literal = literals[run] as Buffer;
    at = copy(literal, 0, literal.length, out, at);
    const value = (numbers[run] as Float64Array)[row] as number;
    const given = widths[run] as number | Float64Array;
    const width = typeof given === 'number' ? given : (given[row] as number);
    if (width === 0) {
      if (out.length - at < DIGITS_MAX && digitsOf(value) > out.length - at) throw noRoom();
      at = putNatural(out, at, value);
    } else {
      if (value >= (POWERS[width] as number)) throw corrupt('a run has more digits than room', { width });
      if (width > out.length - at) throw noRoom();
      at = putPadded(out, at, value, width);
    }
  }
  const last = literals[numbers.length] as Buffer;
  return copy(last, 0, last.length, out, at);
}

function copy(from: Buffer, start: number, end: number, out: Buffer, at: number): number {
  if (end - start > out.length - at) throw noRoom();
  for (let i = start, to = at; i < end; i++) out[to++] = from[i] as number;
  return at + end - start;
}

function noRoom() {
  return corrupt('values are longer than announced');
}
