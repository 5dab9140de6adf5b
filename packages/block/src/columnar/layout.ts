/** Puts decoded columns back into records: first how long each is and thus where it stands, then every column's values at their places. */
import { corrupt } from '../header.ts';
import { type Flat, hasValue, kindAt } from './flat.ts';
import { putColumn } from './put-columns.ts';
import { CELL_BYTES, tuplesOf } from './records.ts';
import type { Slices } from './slices.ts';
import { viewOf } from './views.ts';

export interface DecodedGroup {
  readonly op: number;
  readonly relation: number;
  readonly rows: number;
  readonly columns: readonly Flat[];
}

/** Offsets of op bytes. */
export interface Placed {
  readonly begins: Int32Array;
  readonly verbatim: Int32Array;
  /** By symbol; empty for records kept as they are. */
  readonly places: readonly Int32Array[];
}

const BEGIN_BYTES = 21;
/** Op, relation, one length; and one more length. */
const HEAD_BYTES = 7;
const LENGTH_BYTES = 4;
const COUNT_BYTES = 2;

/** @throws DroverError `block.corrupt` unless the records come to exactly `rawBytes` */
export function layOut(
  sequence: Float64Array,
  perTransaction: Float64Array,
  verbatim: Slices,
  groups: readonly (DecodedGroup | null)[],
  rawBytes: number,
): Placed {
  const sizes = groups.map((group) => (group === null ? null : sizesOf(group)));
  const places = groups.map((group) => new Int32Array(group?.rows ?? 0));
  const next = new Uint32Array(groups.length);
  const begins = new Int32Array(perTransaction.length - 1);
  const kept = new Int32Array(verbatim.count);
  let at = 0;
  let record = 0;
  let keptNext = 0;
  for (let part = 0; part < perTransaction.length; part++) {
    if (part > 0) {
      begins[part - 1] = at;
      at += BEGIN_BYTES;
    }
    const last = record + (perTransaction[part] as number);
    if (!(last >= record && last <= sequence.length)) throw corrupt('its transactions have too many records');
    for (; record < last; record++) {
      const symbol = sequence[record] as number;
      const own = sizes[symbol] ?? null;
      if (own === null) {
        kept[keptNext] = at;
        at += 1 + (verbatim.ends[keptNext] as number) - (verbatim.starts[keptNext] as number);
        keptNext++;
      } else {
        const row = next[symbol] as number;
        (places[symbol] as Int32Array)[row] = at;
        next[symbol] = row + 1;
        at += own[row] as number;
      }
    }
    if (at > rawBytes) break;
  }
  if (at !== rawBytes || record !== sequence.length) {
    throw corrupt('its records do not come to the declared length', { rawBytes, actual: at });
  }
  return { begins, verbatim: kept, places };
}

/** Bytes of each record. */
function sizesOf(group: DecodedGroup): Float64Array {
  const tuples = tuplesOf(group.op);
  const fixed = HEAD_BYTES + (tuples - 1) * LENGTH_BYTES + tuples * COUNT_BYTES;
  const sizes = new Float64Array(group.rows).fill(fixed);
  for (const column of group.columns) addSizes(column, sizes);
  return sizes;
}

function addSizes(column: Flat, sizes: Float64Array): void {
  const { kind, ints, width, slices } = column;
  const count = sizes.length;
  if (kind !== null && !hasValue(kind)) {
    for (let i = 0; i < count; i++) sizes[i] = (sizes[i] as number) + 1;
  } else if (kind !== null && ints !== null) {
    for (let i = 0; i < count; i++) sizes[i] = (sizes[i] as number) + CELL_BYTES + width;
  } else if (kind !== null && slices !== null) {
    const { starts, ends } = slices;
    for (let i = 0; i < count; i++) {
      sizes[i] = (sizes[i] as number) + CELL_BYTES + (ends[i] as number) - (starts[i] as number);
    }
  } else {
    for (let i = 0; i < count; i++) sizes[i] = (sizes[i] as number) + cellBytes(column, i);
  }
}

function cellBytes(column: Flat, row: number): number {
  if (!hasValue(kindAt(column, row))) return 1;
  if (column.slices === null) return CELL_BYTES + column.width;
  return CELL_BYTES + (column.slices.ends[row] as number) - (column.slices.starts[row] as number);
}

/** Writes the group's records, whose op bytes stand at `places`. */
export function putGroup(group: DecodedGroup, places: Int32Array, out: Buffer): void {
  const tuples = tuplesOf(group.op);
  const half = group.columns.length / tuples;
  const to = viewOf(out);
  const cursors = new Int32Array(group.rows);
  for (let i = 0; i < group.rows; i++) {
    const at = places[i] as number;
    to.setUint8(at, group.op);
    to.setUint16(at + 1, group.relation);
    cursors[i] = at + HEAD_BYTES + (tuples - 1) * LENGTH_BYTES;
  }
  for (let tuple = 0; tuple < tuples; tuple++) {
    for (let i = 0; i < group.rows; i++) {
      const at = cursors[i] as number;
      to.setUint16(at, half);
      cursors[i] = at + COUNT_BYTES;
    }
    for (let column = 0; column < half; column++) {
      putColumn(group.columns[tuple * half + column] as Flat, cursors, to);
    }
    putLengths(places, cursors, tuple, tuples, to);
  }
}

/** The tuple's length: what was written since the end of the tuple before. */
function putLengths(
  places: Int32Array,
  cursors: Int32Array,
  tuple: number,
  tuples: number,
  to: DataView,
): void {
  const head = HEAD_BYTES + (tuples - 1) * LENGTH_BYTES;
  for (let i = 0; i < places.length; i++) {
    const place = places[i] as number;
    let length = (cursors[i] as number) - place - head;
    if (tuple === 1) length -= to.getInt32(place + 3);
    to.setInt32(place + 3 + tuple * LENGTH_BYTES, length);
  }
}
