/** Whole blocks of the eight tables: sizes beside zstd-3 on the same rows, CPU, and what remembering plans costs. */

import { zstdDecompressSync } from 'node:zlib';
import { assert } from '@drover/core';
import { decodeColumnar } from '../../../packages/block/src/columnar/decode.ts';
import { encodeColumnar, PlanCache } from '../../../packages/block/src/columnar/encode.ts';
import { type Figure, type Gate, RATIO, rowsText } from './cases.ts';
import { compress, cpuMs, PEER_NAME, zstd3 } from './sizes.ts';
import type { Sample, Table } from './stream.ts';
import { open, TABLES } from './tables/all.ts';

/** Blocks by rows a block: the first is for planning and not counted. */
const BLOCKS: Readonly<Record<number, number>> = { 100: 21, 1000: 13, 10000: 3 };
const BINARY_GATES: Readonly<Record<number, Gate>> = { 1000: { atLeast: 4.6 }, 10000: { atLeast: 4.9 } };
const TEXT_GATES: Readonly<Record<number, Gate>> = { 1000: { atLeast: 6.4 }, 10000: { atLeast: 7 } };
/** Rows a block at which CPU and plans are judged. */
const JUDGED_ROWS = 1000;
const MB = 1e6;

/** Sums over the counted blocks of one table. */
export interface TableSums {
  readonly table: Table;
  readonly rows: number;
  /** Changes in all blocks. */
  readonly changes: number;
  /** Block bodies: pgoutput binary tuples and what a block puts around them. */
  readonly raw: number;
  readonly rowBinary: number;
  readonly text: number;
  readonly generic: number;
  readonly stored: number;
  /** Milliseconds. */
  readonly encode: number;
  readonly decode: number;
  readonly genericEncode: number;
  readonly genericDecode: number;
  /** Bytes by plans made on the first block, less those by plans made on each block itself, as a share; 0 where it is not judged. */
  readonly planPenalty: number;
}

export function measureTable(table: Table, rows: number): TableSums {
  const stream = open(table);
  const plans = new PlanCache();
  encodeOrThrow(stream.block(rows), plans);
  const samples = Array.from({ length: (BLOCKS[rows] as number) - 1 }, () => stream.block(rows));
  const stored = samples.map((sample) => encodeOrThrow(sample, plans));
  samples.forEach(({ raw }, i) => {
    assert(decodeColumnar(stored[i] as Buffer, raw.length).equals(raw), 'a block came back changed');
  });
  const sum = (of: (sample: Sample) => number): number => samples.reduce((all, one) => all + of(one), 0);
  const packed = samples.map(({ rowBinary }) => compress(rowBinary));
  const storedBytes = stored.reduce((all, one) => all + one.length, 0);
  const byOwn =
    rows === JUDGED_ROWS ? sum((sample) => encodeOrThrow(sample, new PlanCache()).length) : storedBytes;
  const each = (run: (sample: Sample, i: number) => unknown) => (): void => samples.forEach(run);
  return {
    table,
    rows,
    changes: sum((sample) => sample.rows),
    raw: sum(({ raw }) => raw.length),
    rowBinary: sum(({ rowBinary }) => rowBinary.length),
    text: sum(({ textBytes }) => textBytes),
    generic: packed.reduce((all, one) => all + one.length, 0),
    stored: storedBytes,
    encode: cpuMs(
      1,
      each((sample) => encodeColumnar(sample.raw, plans)),
    ),
    decode: cpuMs(
      1,
      each(({ raw }, i) => decodeColumnar(stored[i] as Buffer, raw.length)),
    ),
    genericEncode: cpuMs(
      1,
      each(({ rowBinary }) => zstd3(rowBinary)),
    ),
    genericDecode: cpuMs(
      1,
      each((_, i) => zstdDecompressSync(packed[i] as Buffer)),
    ),
    planPenalty: (storedBytes - byOwn) / byOwn,
  };
}

function encodeOrThrow({ raw }: Sample, plans: PlanCache): Buffer {
  // A block that is not worth columns is sent as it is.
  return encodeColumnar(raw, plans) ?? raw;
}

/** @param sums of all tables, at all sizes */
export function blockFigures(sums: readonly TableSums[]): Figure[] {
  const figures = sums.flatMap(tableFigures);
  for (const rows of new Set(sums.map((one) => one.rows))) {
    const same = sums.filter((one) => one.rows === rows);
    if (same.length === TABLES.length) figures.push(...averages(same, rows));
  }
  return figures;
}

function tableFigures(one: TableSums): Figure[] {
  const name = `${one.table.name}, seed ${one.table.seed}, ${rowsText(one.rows)}`;
  const base = { case: name, peerName: PEER_NAME };
  const perMb = (ms: number): number => ms / (one.raw / MB);
  const perMillion = (ms: number): number => (ms / 1000 / one.changes) * 1e6;
  return [
    {
      ...base,
      metric: RATIO,
      unit: 'x',
      drover: one.rowBinary / one.stored,
      peer: one.rowBinary / one.generic,
    },
    {
      ...base,
      metric: 'text/stored',
      unit: 'x',
      drover: one.text / one.stored,
      peer: one.text / one.generic,
    },
    {
      ...base,
      metric: 'stored',
      unit: 'B/row',
      drover: one.stored / one.changes,
      peer: one.generic / one.changes,
    },
    {
      ...base,
      metric: 'encode CPU',
      unit: 'ms/MB',
      drover: perMb(one.encode),
      peer: perMb(one.genericEncode),
    },
    {
      ...base,
      metric: 'decode CPU',
      unit: 'ms/MB',
      drover: perMb(one.decode),
      peer: perMb(one.genericDecode),
    },
    {
      ...base,
      metric: 'encode CPU',
      unit: 's/M rows',
      drover: perMillion(one.encode),
      peer: perMillion(one.genericEncode),
    },
    {
      ...base,
      metric: 'decode CPU',
      unit: 's/M rows',
      drover: perMillion(one.decode),
      peer: perMillion(one.genericDecode),
    },
  ];
}

/** Bytes of a row of each table count alike, however many rows were measured. */
function averages(same: readonly TableSums[], rows: number): Figure[] {
  const perRow = (of: (one: TableSums) => number): number =>
    same.reduce((sum, one) => sum + of(one) / one.changes, 0);
  const base = { case: `${same.length} tables, ${rowsText(rows)}`, peerName: PEER_NAME };
  const weighted = { ...base, unit: 'x' };
  const stored = perRow((one) => one.stored);
  const generic = perRow((one) => one.generic);
  const binary = perRow((one) => one.rowBinary);
  const text = perRow((one) => one.text);
  const judged = rows === JUDGED_ROWS;
  const mean = (of: (one: TableSums) => number): number =>
    same.reduce((sum, one) => sum + of(one), 0) / same.length;
  const cpu = (of: (one: TableSums) => number): number => mean((one) => of(one) / (one.raw / MB));
  const figures: Figure[] = [
    {
      ...weighted,
      metric: `${RATIO}, byte-weighted`,
      drover: binary / stored,
      peer: binary / generic,
      gate: BINARY_GATES[rows],
    },
    {
      ...weighted,
      metric: 'text/stored, byte-weighted',
      drover: text / stored,
      peer: text / generic,
      gate: TEXT_GATES[rows],
    },
    {
      ...base,
      metric: 'encode CPU, mean',
      unit: 'ms/MB',
      drover: cpu((one) => one.encode),
      peer: cpu((one) => one.genericEncode),
      gate: judged ? { atMost: 12 } : undefined,
    },
    {
      ...base,
      metric: 'decode CPU, mean',
      unit: 'ms/MB',
      drover: cpu((one) => one.decode),
      peer: cpu((one) => one.genericDecode),
      gate: judged ? { atMost: 3 } : undefined,
    },
  ];
  if (judged) {
    figures.push({
      ...base,
      metric: 'larger by plans up to 12 blocks old, worst table',
      unit: '%',
      drover: Math.max(...same.map((one) => one.planPenalty * 100)),
      peer: 1,
      peerName: 'allowed',
      gate: { atMost: 1 },
    });
  }
  return figures;
}
