/** The inverse of `cells.ts` and `wrappers.ts`: a column from its streams and from columns decoded before it. */
import { corrupt } from '../header.ts';
import { AS_BYTES, KINDS, MIXED, WRAPPER_SHIFT } from './cells.ts';
import { type Flat, referenceInts, replaceRows, scatter, toSlices } from './flat.ts';
import { decodeFloats } from './floats.ts';
import { decodeInts, decodeNear, type Ints } from './ints.ts';
import { decodeNumeric } from './numeric.ts';
import { type Order, orderByBytes, orderByInts } from './order.ts';
import { Kind } from './records.ts';
import { documentCodecs } from './registry.ts';
import { type Slices, totalBytes } from './slices.ts';
import type { StreamSource } from './streams.ts';
import { decodeAmong, decodeStrings } from './strings.ts';
import { BYTES, type ValueType, valueType } from './types.ts';
import { copyBytes, viewOf } from './views.ts';
import { Wrapper } from './wrapper-ids.ts';

/** What a column may refer to: 0 the commit time of each row's transaction, then the columns before it. */
export interface References {
  times(): Float64Array;
  readonly columns: readonly Flat[];
  readonly typeOids: readonly number[];
  /** Orders by column that were needed already. */
  readonly orders: (Order | undefined)[];
}

/** @throws DroverError `block.corrupt` */
export function decodeColumn(
  head: number,
  source: StreamSource,
  typeOid: number,
  count: number,
  references: References,
): Flat {
  const wrapper = (head >> WRAPPER_SHIFT) & 3;
  const reference = wrapper === Wrapper.none ? 0 : source.numbers.varint();
  switch (wrapper) {
    case Wrapper.none:
      return decodeCells(head, source, typeOid, count, null);
    case Wrapper.difference: {
      const values = reference === 0 ? references.times() : intsOf(references, reference, source);
      if (values === null) throw corrupt('a column refers to one that is not of numbers');
      return decodeCells(head, source, typeOid, count, values);
    }
    case Wrapper.grouped: {
      const order = orderOf(references, reference, source);
      return scatter(decodeCells(head, source, typeOid, count, null), order.rows);
    }
    default: {
      const column = columnOf(references, reference);
      const changed = decodeNear(source, count);
      let rows = new Uint32Array(count);
      let found = 0;
      for (let i = 0; i < count; i++) if (changed[i] !== 0) rows[found++] = i;
      if (found === 0) return column;
      rows = rows.subarray(0, found);
      return replaceRows(column, decodeCells(head, source, typeOid, found, null), rows, source);
    }
  }
}

function columnOf(references: References, reference: number): Flat {
  const column = references.columns[reference - 1];
  if (column === undefined) throw corrupt('a column refers to one that is not before it', { reference });
  return column;
}

function intsOf(references: References, reference: number, source: StreamSource): Float64Array | null {
  return referenceInts(columnOf(references, reference), references.typeOids[reference - 1] as number, source);
}

function orderOf(references: References, reference: number, source: StreamSource): Order {
  const known = references.orders[reference];
  if (known !== undefined) return known;
  const column = columnOf(references, reference);
  source.spend(column.count * 24);
  const ints = intsOf(references, reference, source);
  const order = ints === null ? orderByBytes(toSlices(column, source)) : orderByInts(ints);
  if (order === null || column.kind === null) throw corrupt('rows cannot be in the order of such a column');
  references.orders[reference] = order;
  return order;
}

function decodeCells(
  head: number,
  source: StreamSource,
  typeOid: number,
  count: number,
  difference: Float64Array | null,
): Flat {
  const number = head & 7;
  const asBytes = (head & AS_BYTES) !== 0;
  if (number !== MIXED) {
    const kind = KINDS[number];
    if (kind === undefined) throw corrupt('a column has an unknown kind', { number });
    const none = { count, kind, kinds: null, ints: null, width: 0, slices: null };
    if (kind !== Kind.binary && kind !== Kind.text) return none;
    const values = decodeValues(source, typeOf(typeOid, kind, asBytes), count, difference);
    return { ...none, ...values };
  }
  return decodeMixed(source, typeOid, asBytes, count, difference);
}

function typeOf(typeOid: number, kind: number, asBytes: boolean): ValueType {
  return asBytes && kind === Kind.binary ? BYTES : valueType(typeOid, kind === Kind.binary);
}

interface Values {
  readonly ints: Ints | null;
  readonly width: number;
  readonly slices: Slices | null;
}

function decodeValues(
  source: StreamSource,
  type: ValueType,
  count: number,
  difference: Float64Array | null,
): Values {
  switch (type.kind) {
    case 'ints': {
      const ints = decodeInts(source, count);
      return { ints: difference === null ? ints : add(ints, difference), width: type.width, slices: null };
    }
    case 'float':
      return { ints: null, width: 0, slices: decodeFloats(source, count, type.width) };
    case 'numeric':
      return { ints: null, width: 0, slices: decodeNumeric(source, count) };
    case 'document':
      return { ints: null, width: 0, slices: decodeAmong(documentCodecs, source, count, 0) };
    case 'bytes':
      return { ints: null, width: 0, slices: decodeStrings(source, count) };
  }
}

function add(values: Ints, reference: Float64Array): Float64Array {
  if (!(values instanceof Float64Array)) throw corrupt('differences are wider than they may be');
  for (let i = 0; i < values.length; i++) values[i] = (values[i] as number) + (reference[i] as number);
  return values;
}

function decodeMixed(
  source: StreamSource,
  typeOid: number,
  asBytes: boolean,
  count: number,
  difference: Float64Array | null,
): Flat {
  const numbers = decodeNear(source, count);
  source.spend(count * 9);
  const kinds = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    const kind = KINDS[numbers[i] as number];
    if (kind === undefined) throw corrupt('a value has an unknown kind');
    kinds[i] = kind;
  }
  const parts: { kind: number; rows: Uint32Array; values: Values }[] = [];
  for (const kind of [Kind.binary, Kind.text]) {
    const rows = new Uint32Array(count);
    let found = 0;
    for (let i = 0; i < count; i++) if (kinds[i] === kind) rows[found++] = i;
    if (found === 0) continue;
    const own = rows.subarray(0, found);
    const subset = difference === null ? null : Float64Array.from(own, (row) => difference[row] as number);
    parts.push({
      kind,
      rows: own,
      values: decodeValues(source, typeOf(typeOid, kind, asBytes), found, subset),
    });
  }
  return mix(parts, kinds, source);
}

/** Values of two kinds at their rows. */
function mix(
  parts: readonly { kind: number; rows: Uint32Array; values: Values }[],
  kinds: Uint8Array,
  source: StreamSource,
): Flat {
  const count = kinds.length;
  const empty: Flat = { count, kind: null, kinds, ints: null, width: 0, slices: null };
  const [first, second] = parts;
  if (first === undefined) return empty;
  if (second === undefined && first.values.ints !== null) {
    const { ints, width } = first.values;
    source.spend(count * 8);
    const all = ints instanceof BigInt64Array ? new BigInt64Array(count) : new Float64Array(count);
    for (let i = 0; i < first.rows.length; i++) all[first.rows[i] as number] = ints[i] as never;
    return { ...empty, ints: all, width };
  }
  const slices = parts.map(({ kind, rows, values }) =>
    toSlices({ ...empty, ...values, kind, kinds: null, count: rows.length }, source),
  );
  // Each part's bytes may be a whole stream: only the values' own are put together.
  const total = slices.reduce((sum, part) => sum + totalBytes(part), 0);
  source.spend(total + count * 8);
  const bytes = Buffer.allocUnsafe(total);
  const starts = new Uint32Array(count);
  const ends = new Uint32Array(count);
  const into = viewOf(bytes);
  let at = 0;
  parts.forEach(({ rows }, part) => {
    const own = slices[part] as Slices;
    const from = viewOf(own.bytes);
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i] as number;
      starts[row] = at;
      at = copyBytes(from, own.starts[i] as number, own.ends[i] as number, into, at);
      ends[row] = at;
    }
  });
  return { ...empty, slices: { bytes, starts, ends, count } };
}
