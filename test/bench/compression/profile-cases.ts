/** Small messages by a profile of earlier ones, beside zstd-3 alone on the same rows. */
import { zstdDecompressSync } from 'node:zlib';
import { assert, must } from '@drover/core';
import {
  decodeWithProfile,
  encodeWithProfile,
  learn,
  openProfile,
  type Profile,
} from '../../../packages/block/src/columnar/profile.ts';
import { type Figure, type Gate, rowsText } from './cases.ts';
import { compress, cpuMs, PEER_NAME, zstd3 } from './sizes.ts';
import type { Sample, Table } from './stream.ts';
import { open, TABLES } from './tables/all.ts';

/** One-transaction messages the profile is learnt from; later ones are measured. */
const LEARN_MESSAGES = 1000;
/** Messages by the least rows each has: whole transactions. */
const MESSAGES: Readonly<Record<number, number>> = { 1: 400, 10: 100, 100: 20 };
/** One row with its LSN, transaction id and commit time. */
const ONE_ROW: Gate = { atMost: 75 };
const HUNDRED_ROWS: Gate = { atLeast: 3.9 };

interface Measured {
  readonly table: Table;
  readonly least: number;
  readonly messages: number;
  readonly rows: number;
  readonly stored: number;
  readonly generic: number;
  readonly rowBinary: number;
  readonly text: number;
  /** CPU, microseconds a message. */
  readonly encodeUs: number;
  readonly decodeUs: number;
  readonly genericEncodeUs: number;
  readonly genericDecodeUs: number;
  readonly profileBytes: number;
  readonly learnMs: number;
}

/** @returns the figures, and what each profile takes */
export function profileFigures(signal: AbortSignal): { figures: Figure[]; notes: string[] } {
  const measured = TABLES.flatMap((table) => {
    signal.throwIfAborted();
    return measureTable(table);
  });
  const figures = measured.flatMap(ofTable);
  const hundred = measured.filter(({ least }) => least === 100);
  const perRow = (of: (one: Measured) => number): number =>
    hundred.reduce((sum, one) => sum + of(one) / one.rows, 0);
  const binary = perRow((one) => one.rowBinary);
  figures.push({
    case: `${hundred.length} tables, 100 rows, profile`,
    metric: 'raw/stored, byte-weighted',
    unit: 'x',
    drover: binary / perRow((one) => one.stored),
    peer: binary / perRow((one) => one.generic),
    peerName: PEER_NAME,
    gate: HUNDRED_ROWS,
  });
  const notes = measured
    .filter(({ least }) => least === 1)
    .map(({ table, profileBytes, learnMs }) => {
      const made = `learnt of ${LEARN_MESSAGES} messages in ${Math.round(learnMs)} ms CPU`;
      return `profile of ${table.name}: ${profileBytes} bytes, ${made}`;
    });
  return { figures, notes };
}

function measureTable(table: Table): Measured[] {
  const stream = open(table);
  const earlier = Array.from({ length: LEARN_MESSAGES }, () => stream.block(1).raw);
  const options = { tenant: 'bench', tables: table.name };
  let learnt: Profile | null = null;
  const learnMs = cpuMs(1, () => {
    learnt = learn(earlier, options);
  });
  const { bytes, id } = must(learnt as Profile | null, 'a profile of messages with rows');
  const profile = openProfile(bytes, id);
  return Object.entries(MESSAGES).map(([key, messages]) => {
    const least = Number(key);
    const all = Array.from({ length: messages }, () => stream.block(least));
    // The gate is on messages of one row, not on averages over transactions of several.
    const samples = least === 1 ? all.filter(({ rows }) => rows === 1) : all;
    return ofSamples(table, least, samples.length === 0 ? all : samples, profile, learnMs);
  });
}

function ofSamples(
  table: Table,
  least: number,
  samples: readonly Sample[],
  profile: Profile,
  learnMs: number,
): Measured {
  const encode = ({ raw }: Sample): Buffer => encodeWithProfile(raw, profile) ?? raw;
  const stored = samples.map(encode);
  samples.forEach(({ raw }, i) => {
    const back = decodeWithProfile(stored[i] as Buffer, profile, raw.length);
    assert(back.equals(raw), 'a message came back changed');
  });
  const sum = (of: (sample: Sample, i: number) => number): number =>
    samples.reduce((all, sample, i) => all + of(sample, i), 0);
  const perMessage = (run: (sample: Sample, i: number) => unknown): number =>
    (cpuMs(2, () => samples.forEach((sample, i) => void run(sample, i))) * 1000) / 2 / samples.length;
  const packed = samples.map(({ rowBinary }) => compress(rowBinary));
  return {
    table,
    least,
    messages: samples.length,
    rows: sum(({ rows }) => rows),
    stored: sum((_, i) => (stored[i] as Buffer).length),
    generic: sum(({ rowBinary }) => zstd3(rowBinary)),
    rowBinary: sum(({ rowBinary }) => rowBinary.length),
    text: sum(({ textBytes }) => textBytes),
    encodeUs: perMessage(encode),
    decodeUs: perMessage(({ raw }, i) => decodeWithProfile(stored[i] as Buffer, profile, raw.length)),
    genericEncodeUs: perMessage(({ rowBinary }) => zstd3(rowBinary)),
    genericDecodeUs: perMessage((_, i) => zstdDecompressSync(packed[i] as Buffer)),
    profileBytes: profile.bytes.length,
    learnMs,
  };
}

function ofTable(one: Measured): Figure[] {
  const { table, least, rows, messages } = one;
  const exact = rows === messages * least;
  const size = exact ? rowsText(least) : `${(rows / messages).toFixed(1)} rows`;
  const base = {
    case: `${table.name}, seed ${table.seed}, messages of ${size}, profile`,
    peerName: PEER_NAME,
  };
  const isOrder = table.name === 'orders_insert' && least === 1 && exact;
  const perMessage = { ...base, unit: 'us/message' };
  return [
    {
      ...base,
      metric: 'stored',
      unit: 'B/row',
      drover: one.stored / rows,
      peer: one.generic / rows,
      gate: isOrder ? ONE_ROW : undefined,
    },
    {
      ...base,
      metric: 'text/stored',
      unit: 'x',
      drover: one.text / one.stored,
      peer: one.text / one.generic,
    },
    { ...perMessage, metric: 'encode CPU', drover: one.encodeUs, peer: one.genericEncodeUs },
    { ...perMessage, metric: 'decode CPU', drover: one.decodeUs, peer: one.genericDecodeUs },
  ];
}
