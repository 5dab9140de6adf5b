/** What columns tell about each other: taken where it helps, and exact whatever the reference looks like. */
import { describe, expect, it } from 'vitest';
import { Op } from '../format.ts';
import { hasValue, kindAt, toSlices } from './flat.ts';
import { decodeGroup, encodeGroup, typesOf } from './group.ts';
import { Plan } from './plan.ts';
import { Kind } from './records.ts';
import type { Group } from './scan.ts';
import { newSink, type StreamSink, sinkSize } from './streams.ts';
import { seeded, slicesOf, sourceOf } from './testing.ts';
import { Oid } from './types.ts';
import './wire.ts';
import { Wrapper } from './wrapper-ids.ts';

type Cell = number | string | null;
/** Big-endian int8 for numbers; text otherwise. */
interface Column {
  readonly oid: number;
  readonly cells: readonly Cell[];
}

function bytesOf(cell: Cell): Buffer {
  if (typeof cell !== 'number') return Buffer.from(cell ?? '');
  const out = Buffer.alloc(8);
  out.writeBigInt64BE(BigInt(cell));
  return out;
}

function groupOf(columns: readonly Column[], op: number): { group: Group; body: Buffer } {
  const rows = columns[0]!.cells.length;
  const all = columns.flatMap(({ cells }) => cells);
  const { bytes, starts, ends } = slicesOf(all.map(bytesOf));
  const kinds = Uint8Array.from(all, (cell) => (cell === null ? Kind.null : Kind.binary));
  const own = op === Op.updateOldRow ? columns.length / 2 : columns.length;
  const relation = { key: '', typeOids: columns.slice(0, own).map(({ oid }) => oid) };
  const transactions = new Int32Array(rows);
  return {
    body: bytes,
    group: { op, relation, columns: columns.length, rows, kinds, starts, ends, transactions },
  };
}

/** Encodes and decodes; the wrapper each column got, and how many bytes. */
function run(
  columns: readonly Column[],
  { plan = new Plan(), op = Op.insert as number, times = null as Float64Array | null } = {},
): { wrappers: number[]; bytes: number } {
  const { group, body } = groupOf(columns, op);
  const sink: StreamSink = newSink();
  const { own } = encodeGroup(group, body, times, sink, plan);
  expect(own).toEqual([]);
  const source = sourceOf(sink);
  const types = typesOf(group.relation.typeOids, group.columns);
  const noTimes = (): Float64Array => {
    throw new Error('no times');
  };
  const flats = decodeGroup(group.rows, types, times === null ? noTimes : () => times, source, () => {
    throw new Error('no frames of their own');
  });
  flats.forEach((flat, c) => {
    const { bytes, starts, ends } = toSlices(flat, source);
    const back = Array.from({ length: group.rows }, (_, i) =>
      hasValue(kindAt(flat, i)) ? bytes.toString('hex', starts[i], ends[i]) : null,
    );
    const expected = columns[c]!.cells.map((cell) => (cell === null ? null : bytesOf(cell).toString('hex')));
    expect(back).toEqual(expected);
  });
  return { wrappers: columns.map((_, c) => plan.child(String(c)).choice % 4), bytes: sinkSize(sink) };
}

const random = seeded(11);
const whole = (limit: number): number => Math.floor(random() * limit);
const ROWS = 300;
const make = (oid: number, at: (i: number) => Cell, rows = ROWS): Column => ({
  oid,
  cells: Array.from({ length: rows }, (_, i) => at(i)),
});
const jumping = make(Oid.int8, () => whole(1e9));
const near = (column: Column): Column => make(Oid.int8, (i) => (column.cells[i] as number) + whole(4));

describe('differences', () => {
  it('to a number before, and to the commit time', () => {
    expect(run([jumping, near(jumping)]).wrappers).toEqual([Wrapper.none, Wrapper.difference]);
    const times = Float64Array.from({ length: ROWS }, () => 8e14 + whole(1e9));
    const created = make(Oid.timestamptz, (i) => (times[i] as number) - whole(100));
    expect(run([created], { times }).wrappers).toEqual([Wrapper.difference]);
  });

  it('stay exact when the reference turns null, constant or far, or is gone', () => {
    const plan = new Plan();
    const far = make(Oid.int8, (i) => (i % 9 === 0 ? -(2 ** 53) + 2 : 2 ** 53 - 2));
    const other = near(jumping);
    expect(run([jumping, other], { plan }).wrappers[1]).toBe(Wrapper.difference);
    for (const reference of [
      make(Oid.int8, (i) => (i % 7 === 0 ? null : i)),
      make(Oid.int8, () => null),
      make(Oid.int8, () => 5),
      far,
    ]) {
      run([reference, other], { plan });
      run([reference, far], { plan });
      run([reference, make(Oid.int8, (i) => (i % 3 === 0 ? null : i))], { plan });
    }
  });
});

describe('groups', () => {
  const series = Array.from({ length: 20 }, () => whole(1e9));
  const key = make(Oid.text, () => `device ${whole(20)}`);
  const value = make(Oid.int8, (i) => {
    const device = Number((key.cells[i] as string).slice(7));
    series[device] = (series[device] as number) + whole(3);
    return series[device] as number;
  });

  it('bring interleaved series together', () => {
    const { wrappers, bytes } = run([key, value]);
    expect(wrappers).toEqual([Wrapper.none, Wrapper.grouped]);
    expect(bytes * 2).toBeLessThan(run([value]).bytes);
  });

  it('stay exact when all keys are alike, distinct or null, and with nulls among the values', () => {
    const plan = new Plan();
    run([key, value], { plan });
    const holes = make(Oid.int8, (i) => (i % 5 === 0 ? null : i));
    for (const other of [
      make(Oid.text, () => 'a'),
      make(Oid.text, (i) => `${i}`),
      make(Oid.text, () => null),
      make(Oid.text, (i) => (i === 9 ? null : 'b')),
      key,
    ]) {
      for (const rest of [value, holes, make(Oid.int8, () => null)]) run([other, rest], { plan });
    }
  });
});

describe('old images', () => {
  const old = [jumping, make(Oid.text, () => `note ${whole(1e6)}`)];
  const few =
    (changed: Cell): ((column: Column) => Column) =>
    (column) =>
      make(column.oid, (i) => (i % 40 === 3 ? changed : (column.cells[i] as Cell)));

  it('are repeated for next to nothing', () => {
    const plan = new Plan();
    const { wrappers, bytes } = run([...old, ...old], { plan, op: Op.updateOldRow });
    expect(wrappers.slice(2)).toEqual([Wrapper.same, Wrapper.same]);
    expect(bytes - run(old).bytes).toBeLessThan(24);
  });

  it('stay exact when some rows differ, all do, or values come and go', () => {
    const plan = new Plan();
    run([...old, ...old], { plan, op: Op.updateOldRow });
    const changed = [few(7)(old[0]!), few('changed')(old[1]!)];
    run([...old, ...changed], { plan, op: Op.updateOldRow });
    run([...changed, ...old], { plan, op: Op.updateOldRow });
    run([...old, ...old.map(few(null))], { plan, op: Op.updateOldRow });
    run([...old.map(few(null)), ...old], { plan, op: Op.updateOldRow });
    run([...old, near(jumping), make(Oid.text, (i) => `${i}`)], { plan, op: Op.updateOldRow });
  });
});

it.each([1, 2, 3, 15, 16, 17])('%i rows under a plan made for many', (rows) => {
  const plan = new Plan();
  run([jumping, near(jumping)], { plan });
  const short = make(Oid.int8, () => whole(1e9), rows);
  run([short, make(Oid.int8, (i) => short.cells[i] as number, rows)], { plan });
});
