/**
 * One column of a group as it stands in the body: for each row a kind (null, unchanged, text, binary) and, for the last two, a place. Encodes kinds
 * and values; what other columns tell about this one is `wrappers.ts`.
 */
import { readFixed } from './fixed.ts';
import { encodeFloats } from './floats.ts';
import { isNear } from './ints/wide.ts';
import { encodeInts, type Ints } from './ints.ts';
import { encodeNumeric } from './numeric.ts';
import type { Plan } from './plan.ts';
import { Kind } from './records.ts';
import { documentCodecs } from './registry.ts';
import { pick, type Slices } from './slices.ts';
import { markOf, rewind, type StreamSink } from './streams.ts';
import { encodeAmong, encodeStrings } from './strings.ts';
import { type ValueType, valueType } from './types.ts';

export interface Cells extends Slices {
  readonly kinds: Uint8Array;
}

/** By number, which is part of the format. */
export const KINDS = [Kind.binary, Kind.text, Kind.null, Kind.unchanged] as const;
const NUMBER_OF = new Map<number, number>(KINDS.map((kind, i) => [kind, i]));
/** Instead of one kind for all: a column of kinds follows. */
export const MIXED = 4;

/** Bits of the byte a column starts with, beside the kind (0 to 4) in the lowest three and the wrapper in the next two. */
export const WRAPPER_SHIFT = 3;
/** The binary values are bytes: they do not look as their type says. */
export const AS_BYTES = 32;
/** The text stream of this column is a frame of its own. */
export const OWN_TEXT = 64;

export function pickCells(cells: Cells, rows: Uint32Array): Cells {
  const kinds = new Uint8Array(rows.length);
  for (let i = 0; i < rows.length; i++) kinds[i] = cells.kinds[rows[i] as number] as number;
  return { ...pick(cells, rows), kinds };
}

/** The one kind all rows have, or 0. */
export function uniformKind(cells: Cells): number {
  const { kinds, count } = cells;
  const first = kinds[0] ?? 0;
  for (let i = 1; i < count; i++) if (kinds[i] !== first) return 0;
  return first;
}

/** Values less `reference`, of which there is one per row. */
export interface Difference {
  readonly reference: Float64Array;
}

/**
 * Kinds and values. The header byte at `headerAt` of the numbers stream gets what was found out.
 * @returns false, with the sink as it was after the header, when the values cannot be differences.
 */
export function encodeCells(
  cells: Cells,
  typeOid: number,
  headerAt: number,
  sink: StreamSink,
  plan: Plan,
  difference: Difference | null,
): boolean {
  const uniform = uniformKind(cells);
  const bits = uniform === 0 ? MIXED : (NUMBER_OF.get(uniform) as number);
  setBits(sink, headerAt, bits);
  if (uniform === 0) {
    writeKinds(cells, sink, plan);
    for (const kind of [Kind.binary, Kind.text]) {
      const rows = rowsOf(cells, kind);
      if (rows.length === 0) continue;
      const subset = difference === null ? null : { reference: pickFloats(difference.reference, rows) };
      const type = valueType(typeOid, kind === Kind.binary);
      if (!encodeValues(pick(cells, rows), type, headerAt, sink, plan, subset)) return false;
    }
    return true;
  }
  if (uniform !== Kind.binary && uniform !== Kind.text) return difference === null;
  return encodeValues(cells, valueType(typeOid, uniform === Kind.binary), headerAt, sink, plan, difference);
}

function setBits(sink: StreamSink, headerAt: number, bits: number): void {
  sink.numbers.bytes[headerAt] = (sink.numbers.bytes[headerAt] as number) | bits;
}

function writeKinds(cells: Cells, sink: StreamSink, plan: Plan): void {
  const numbers = new Float64Array(cells.count);
  for (let i = 0; i < cells.count; i++) numbers[i] = NUMBER_OF.get(cells.kinds[i] as number) as number;
  encodeInts(numbers, sink, plan.child('kinds'));
}

function rowsOf(cells: Cells, kind: number): Uint32Array {
  const rows = new Uint32Array(cells.count);
  let found = 0;
  for (let i = 0; i < cells.count; i++) if (cells.kinds[i] === kind) rows[found++] = i;
  return rows.subarray(0, found);
}

function pickFloats(values: Float64Array, rows: Uint32Array): Float64Array {
  const out = new Float64Array(rows.length);
  for (let i = 0; i < rows.length; i++) out[i] = values[rows[i] as number] as number;
  return out;
}

function encodeValues(
  values: Slices,
  type: ValueType,
  headerAt: number,
  sink: StreamSink,
  plan: Plan,
  difference: Difference | null,
): boolean {
  switch (type.kind) {
    case 'ints': {
      const ints = readFixed(values, type.width, type.signed);
      if (difference !== null) {
        const less = ints === null ? null : subtract(ints, difference.reference);
        if (less === null) return false;
        encodeInts(less, sink, plan.child('ints'));
        return true;
      }
      if (ints === null) break;
      encodeInts(ints, sink, plan.child('ints'));
      return true;
    }
    case 'float':
      if (difference === null && encodeFloats(values, type.width, sink, plan.child('floats'))) return true;
      break;
    case 'numeric': {
      const mark = markOf(sink);
      if (difference === null && encodeNumeric(values, sink, plan.child('numeric'))) return true;
      rewind(sink, mark);
      break;
    }
    case 'document':
      if (difference !== null) return false;
      encodeAmong(documentCodecs, values, sink, plan.child('documents'), 0);
      return true;
    case 'bytes':
      if (difference !== null) return false;
      encodeStrings(values, sink, plan.child('text'));
      return true;
  }
  if (difference !== null) return false;
  setBits(sink, headerAt, AS_BYTES);
  encodeStrings(values, sink, plan.child('bytes'));
  return true;
}

/** Null when either side is too wide for exact differences. */
export function subtract(values: Ints, reference: Float64Array): Float64Array | null {
  if (!(values instanceof Float64Array) || !isNear(values) || !isNear(reference)) return null;
  const out = new Float64Array(values.length);
  for (let i = 0; i < values.length; i++) out[i] = (values[i] as number) - (reference[i] as number);
  return out;
}
