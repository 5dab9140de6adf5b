/** One column, alone or beside the columns it may refer to, encoded as it would be in a block, decoded, compared and timed. */
import { assert, must } from '@drover/core';
import '../../../packages/block/src/columnar/wire.ts';
import { ByteReader, ByteWriter } from '../../../packages/block/src/columnar/bytes.ts';
import { toSlices } from '../../../packages/block/src/columnar/flat.ts';
import { readFrame, writeFrame } from '../../../packages/block/src/columnar/frames.ts';
import { decodeGroup, encodeGroup, typesOf } from '../../../packages/block/src/columnar/group.ts';
import { Plan } from '../../../packages/block/src/columnar/plan.ts';
import { Kind } from '../../../packages/block/src/columnar/records.ts';
import type { Group } from '../../../packages/block/src/columnar/scan.ts';
import { newSink, type StreamSink, type StreamSource } from '../../../packages/block/src/columnar/streams.ts';
import { Op } from '../../../packages/block/src/format.ts';
import type { ColumnSpec } from './columns/spec.ts';
import type { Random } from './random.ts';
import { RowWriter } from './row.ts';
import { cpuMs, zstd3 } from './sizes.ts';

export interface ColumnSizes {
  readonly binary: number;
  readonly text: number;
  /** zstd-3 of the binary form alone. */
  readonly generic: number;
  readonly stored: number;
  readonly encodeNs: number;
  readonly decodeNs: number;
}

const LEVELS = { numbers: 1, planes: 1, text: 3, random: 0 } as const;
const STREAMS = ['numbers', 'planes', 'text', 'random'] as const;
/** Values encoded for one reading of the clock. */
const TIMED_VALUES = 20_000;

interface Built {
  readonly body: Buffer;
  readonly group: Group;
  readonly times: Float64Array | null;
  readonly binary: Buffer;
  readonly text: number;
}

/** Of `rows` values. @throws when a value comes back changed */
export function measureColumn(spec: ColumnSpec, random: Random, rows: number): ColumnSizes {
  const built = build(spec, random, rows);
  const plan = new Plan();
  const stored = encode(built, built.group, plan);
  check(built, stored);
  let bytes = stored.length;
  if (spec.typeOids.length > 1) bytes -= encode(built, withoutLast(built.group), new Plan()).length;
  const rounds = Math.ceil(TIMED_VALUES / rows);
  const perValue = (ms: number): number => (ms * 1e6) / rounds / rows;
  return {
    binary: built.binary.length,
    text: built.text,
    generic: zstd3(built.binary),
    stored: bytes,
    encodeNs: perValue(cpuMs(rounds, () => encode(built, built.group, plan))),
    decodeNs: perValue(cpuMs(rounds, () => decode(built, stored))),
  };
}

function build(spec: ColumnSpec, random: Random, rows: number): Built {
  const { columns, time } = spec.make(random);
  const group = emptyGroup(spec.typeOids, rows);
  const body = new ByteWriter(rows * 16 * columns.length);
  const binary = new ByteWriter(rows * 16);
  const times = time === undefined ? null : new Float64Array(rows);
  const row = new RowWriter();
  let text = 0;
  for (let i = 0; i < rows; i++) {
    columns.forEach((write, column) => {
      row.start();
      write(row);
      const { tuple } = row;
      const cell = column * rows + i;
      group.kinds[cell] = tuple[TUPLE_HEAD] as number;
      group.starts[cell] = body.size;
      body.copy(tuple, Math.min(tuple.length, TUPLE_HEAD + CELL_HEAD), tuple.length);
      group.ends[cell] = body.size;
      if (column < columns.length - 1) return;
      const { rowBinary } = row;
      binary.copy(rowBinary, 1, rowBinary.length);
      text += row.textBytes - TUPLE_HEAD - CELL_HEAD;
    });
    if (times !== null && time !== undefined) times[i] = time();
  }
  return { body: Buffer.from(body.written), group, times, binary: Buffer.from(binary.written), text };
}

/** Number of columns; kind and length. */
const TUPLE_HEAD = 2;
const CELL_HEAD = 5;

function emptyGroup(typeOids: readonly number[], rows: number): Group {
  const cells = rows * typeOids.length;
  return {
    op: Op.insert,
    relation: { key: '', typeOids },
    columns: typeOids.length,
    rows,
    kinds: new Uint8Array(cells),
    starts: new Uint32Array(cells),
    ends: new Uint32Array(cells),
    transactions: new Int32Array(rows),
  };
}

function withoutLast(group: Group): Group {
  const typeOids = group.relation.typeOids.slice(0, -1);
  return { ...group, relation: { key: '', typeOids }, columns: typeOids.length };
}

/** The four streams as frames. */
function encode({ body, times }: Built, group: Group, plan: Plan): Buffer {
  const sink: StreamSink = newSink();
  encodeGroup(group, body, times, sink, plan);
  const out = new ByteWriter(sink.numbers.size + 64);
  for (const name of STREAMS) writeFrame(sink[name].written, LEVELS[name], out);
  return out.written;
}

function decode({ group, times }: Built, stored: Buffer): ReturnType<typeof decodeGroup> {
  const input = new ByteReader(stored);
  const spend = (): void => undefined;
  const frame = (): ByteReader => new ByteReader(readFrame(input, spend));
  const source: StreamSource = { numbers: frame(), planes: frame(), text: frame(), random: frame(), spend };
  const typeOids = typesOf(group.relation.typeOids, group.columns);
  return decodeGroup(group.rows, typeOids, () => must(times ?? undefined, 'commit times'), source, frame);
}

function check(built: Built, stored: Buffer): void {
  const { group, body } = built;
  const spend = (): void => undefined;
  const none = new ByteReader(Buffer.alloc(0));
  const source: StreamSource = { numbers: none, planes: none, text: none, random: none, spend };
  decode(built, stored).forEach((flat, column) => {
    const values = toSlices(flat, source);
    for (let i = 0; i < group.rows; i++) {
      const cell = column * group.rows + i;
      if (group.kinds[cell] === Kind.null) continue;
      const before = body.subarray(group.starts[cell], group.ends[cell]);
      const after = values.bytes.subarray(values.starts[i], values.ends[i]);
      assert(before.equals(after), 'a value came back changed', { column, row: i });
    }
  });
}
