/**
 * The inverse of `encode.ts`. What is allocated is bounded by the declared length of the body; whatever the bytes, the outcome is a body of exactly
 * that length or `block.corrupt`.
 */
import { DroverError } from '@drover/core';
import { Op } from '../format.ts';
import { corrupt } from '../header.ts';
import './wire.ts';
import { ByteReader } from './bytes.ts';
import { readFrame } from './frames.ts';
import { decodeGroup } from './group.ts';
import { type DecodedGroup, layOut, putGroup } from './layout.ts';
import { BUDGET_BYTES, BUDGET_FACTOR, COLUMNAR_RAW_BYTES_MAX, COLUMNAR_VERSION } from './limits.ts';
import { Budget, type StreamSource } from './streams.ts';
import { readStructure, transactionsOf } from './structure.ts';
import { decodeBegins, timesOf, writeBegins } from './transactions.ts';

/** @throws DroverError `block.corrupt` */
export function decodeColumnar(stored: Buffer, rawBytes: number): Buffer {
  try {
    return decode(stored, rawBytes);
  } catch (error) {
    if (error instanceof DroverError || !(error instanceof RangeError)) throw error;
    // Deep nesting that only damaged bytes have.
    throw new DroverError('block.corrupt', 'a block is damaged: its columns make no sense', { cause: error });
  }
}

function decode(stored: Buffer, rawBytes: number): Buffer {
  if (rawBytes > COLUMNAR_RAW_BYTES_MAX)
    throw corrupt('it declares more bytes than columns may have', { rawBytes });
  const budget = new Budget(rawBytes * BUDGET_FACTOR + BUDGET_BYTES);
  const spend = (bytes: number): void => budget.spend(bytes);
  const input = new ByteReader(stored);
  if (input.u8() !== COLUMNAR_VERSION) throw corrupt('its columns are of an unknown version');
  const frame = (): ByteReader => new ByteReader(readFrame(input, spend));
  const source: StreamSource = { numbers: frame(), planes: frame(), text: frame(), random: frame(), spend };
  const structure = readStructure(source, rawBytes);
  const begins = decodeBegins(source, structure.begins);
  let cells = 0;
  const groups = structure.symbols.map((symbol) => {
    if (symbol.typeOids === null) return null;
    const { rows } = symbol;
    cells += rows * symbol.typeOids.length;
    // A cell is a byte at least, so no body declares more of them than it has bytes.
    if (cells > rawBytes) throw corrupt('it has more values than bytes');
    let found: Float64Array | null = null;
    const times = (): Float64Array => {
      found ??= timesOf(begins, transactionsOf(structure, symbol.number, rows));
      if (found === null) throw corrupt('a column refers to times that are not there');
      return found;
    };
    const columns = decodeGroup(rows, symbol.typeOids, times, source, frame);
    return { op: symbol.op, relation: symbol.relation, rows, columns } satisfies DecodedGroup;
  });
  for (const stream of [source.numbers, source.planes, source.text, source.random, input]) {
    if (stream.left !== 0) throw corrupt('it has bytes to spare', { left: stream.left });
  }
  const { sequence, perTransaction, verbatim } = structure;
  const layout = layOut(sequence, perTransaction, verbatim, groups, rawBytes);
  const out = Buffer.allocUnsafe(rawBytes);
  for (let i = 0; i < structure.begins; i++) out[layout.begins[i] as number] = Op.begin;
  writeBegins(begins, out, layout.begins);
  structure.verbatimOps.forEach((op, i) => {
    const at = layout.verbatim[i] as number;
    out[at] = op;
    verbatim.bytes.copy(out, at + 1, verbatim.starts[i] as number, verbatim.ends[i] as number);
  });
  groups.forEach((group, i) => {
    if (group !== null) putGroup(group, layout.places[i] as Int32Array, out);
  });
  return out;
}
