/** What records a block has, in which order, in which transactions; those that have no tuples are kept as they are. */
import { Op } from '../format.ts';
import { corrupt } from '../header.ts';
import { typesOf } from './group.ts';
import { decodeNear, encodeInts } from './ints.ts';
import type { Plan } from './plan.ts';
import { relationTypes, tuplesOf } from './records.ts';
import type { Scan } from './scan.ts';
import { gather, type Slices, totalBytes } from './slices.ts';
import type { StreamSink, StreamSource } from './streams.ts';
import { lengthsOf } from './strings/plain.ts';

export function writeStructure(scan: Scan, sink: StreamSink, plan: Plan): void {
  const { numbers, text } = sink;
  numbers.varint(scan.begins.length);
  numbers.varint(scan.sequence.length);
  numbers.varint(scan.symbols.length);
  for (const { op, relation } of scan.symbols) {
    numbers.u8(op);
    numbers.varint(relation);
  }
  encodeInts(scan.sequence, sink, plan.child('sequence'));
  encodeInts(scan.perTransaction, sink, plan.child('transactions'));
  encodeInts(lengthsOf(scan.verbatim), sink, plan.child('lengths'));
  text.reserve(totalBytes(scan.verbatim));
  text.size = gather(scan.verbatim, text.bytes, text.size);
}

/** What a symbol and the list of records kept as they are take while they are read, about. */
const SYMBOL_BYTES = 128;
const RECORD_BYTES = 8;

export interface ReadSymbol {
  readonly number: number;
  readonly op: number;
  readonly relation: number;
  rows: number;
  /** Of all its columns, old then new; null for records kept as they are. */
  typeOids: readonly number[] | null;
}

export interface Structure {
  readonly begins: number;
  readonly symbols: readonly ReadSymbol[];
  readonly sequence: Float64Array;
  readonly perTransaction: Float64Array;
  readonly verbatim: Slices;
  readonly verbatimOps: readonly number[];
}

/** @throws DroverError `block.corrupt` */
export function readStructure(source: StreamSource, rawBytes: number): Structure {
  const { numbers } = source;
  const begins = numbers.varint();
  const records = numbers.varint();
  const count = numbers.varint();
  if (begins * 21 + records > rawBytes || count > records) throw corrupt('it has more records than bytes');
  source.spend(count * SYMBOL_BYTES + records * RECORD_BYTES);
  const symbols: ReadSymbol[] = [];
  for (let number = 0; number < count; number++) {
    const op = numbers.u8();
    const relation = numbers.varint();
    if (op === Op.begin || op < Op.relation || op > Op.message || relation > 65_535) {
      throw corrupt('it holds records of an unknown kind', { op });
    }
    symbols.push({ number, op, relation, rows: 0, typeOids: null });
  }
  const sequence = decodeNear(source, records);
  const perTransaction = decodeNear(source, begins + 1);
  const relations: (readonly number[])[] = [];
  const verbatimOps: number[] = [];
  for (let i = 0; i < records; i++) {
    const symbol = symbols[sequence[i] as number];
    if (symbol === undefined) throw corrupt('a record is of no kind');
    symbol.rows++;
    if (tuplesOf(symbol.op) === 0) verbatimOps.push(symbol.op);
  }
  const lengths = decodeNear(source, verbatimOps.length);
  const starts = new Uint32Array(lengths.length);
  const ends = new Uint32Array(lengths.length);
  for (let i = 0; i < lengths.length; i++) {
    const length = lengths[i] as number;
    if (!(length >= 0)) throw corrupt('a record has a negative length');
    starts[i] = source.text.take(length);
    ends[i] = source.text.at;
    if (verbatimOps[i] !== Op.relation) continue;
    const types = relationTypes(source.text.bytes, starts[i] as number, ends[i] as number);
    if (types === null) throw corrupt('a relation is malformed');
    relations.push(types);
  }
  for (const symbol of symbols) {
    const tuples = tuplesOf(symbol.op);
    if (tuples === 0) continue;
    const types = relations[symbol.relation];
    if (types === undefined) throw corrupt('a record names a relation that is not there');
    symbol.typeOids = typesOf(types, tuples * types.length);
  }
  const verbatim = { bytes: source.text.bytes, starts, ends, count: lengths.length };
  return { begins, symbols, sequence, perTransaction, verbatim, verbatimOps };
}

/** Ordinal of the transaction of each of the symbol's records. */
export function transactionsOf(structure: Structure, symbol: number, rows: number): Int32Array {
  const out = new Int32Array(rows);
  const { sequence, perTransaction } = structure;
  let at = 0;
  let record = 0;
  for (let part = 0; part < perTransaction.length; part++) {
    for (let left = perTransaction[part] as number; left > 0 && record < sequence.length; left--) {
      if (sequence[record++] === symbol) out[at++] = part - 1;
    }
  }
  return out;
}
