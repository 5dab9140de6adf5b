/** Bodies of blocks as a writer makes them, from a seed: tables of any types, all kinds of changes, many transactions. */
import { zstdDecompressSync } from 'node:zlib';
import { clusterId, epoch, type Lsn, tenantId } from '@drover/core';
import { BlockWriter } from '../block-writer.ts';
import { openEnvelope } from '../header.ts';
import type { Relation } from '../types.ts';
import { below, type Draw, pickOne, type Random } from './test-numbers.ts';
import { type TestType, TYPES } from './test-values.ts';
import { seeded } from './testing.ts';

const META = {
  source: clusterId('east'),
  database: 'app',
  tenant: tenantId('t'),
  epoch: epoch(1),
  systemId: '1',
  generation: 1,
  firstLsn: 1n as Lsn,
  lastLsn: 1n as Lsn,
  part: 0,
  complete: true,
  commitTimeUs: 0n,
};

export interface BodyOptions {
  readonly seed: number;
  readonly rows: number;
  readonly tables: number;
  readonly columns: number;
  /** Which tables: bodies of the same number have the same ones, so that a plan of one meets the data of another. */
  readonly schemaSeed?: number;
  /** Only these types. */
  readonly types?: readonly TestType[];
  /** Only inserts, all values binary: what fills every column with values. */
  readonly plain?: boolean;
}

interface Table {
  readonly relation: Relation;
  readonly types: readonly TestType[];
}

/** What a writer has collected, before compression. */
export function rawOf(writer: BlockWriter): Buffer {
  const block = writer.finish(META);
  const { bodyStart, rawBytes } = openEnvelope(block);
  const body = block.subarray(bodyStart);
  return body.length === rawBytes ? body : zstdDecompressSync(body);
}

function tableOf(random: Random, number: number, options: BodyOptions): Table {
  const types = Array.from({ length: options.columns }, () => pickOne(random, options.types ?? TYPES));
  const columns = types.map(({ name, oid }, i) => ({
    name: `${name}_${i}`,
    typeOid: oid,
    typmod: -1,
    key: i === 0,
  }));
  const identity = pickOne(random, ['d', 'n', 'f', 'i'] as const);
  return {
    types,
    relation: { oid: 16_000 + number, schema: 'public', name: `t${number}ö`, identity, columns },
  };
}

/** Rows of one table: each column has its own manner, how often it is null, unchanged or text, and whether it repeats another column. */
function rowsOf(random: Random, { types }: Table, plain: boolean): (row: number) => Buffer {
  const columns = types.map((type, c) => ({
    binary: pickOne(random, type.binary)(random),
    text: pickOne(random, type.text)(random),
    nulls: plain ? 0 : pickOne(random, [0, 0, 0, 0.1, 0.9, 1]),
    unchanged: plain ? 0 : pickOne(random, [0, 0, 0, 0.2, 1]),
    texts: plain ? 0 : pickOne(random, [0, 0, 0, 0.3, 1]),
    like: types.findIndex((other, o) => o < c && other === type && random() < 0.7),
  }));
  const cell = (column: (typeof columns)[number], row: number, values: readonly Buffer[]): Buffer => {
    if (random() < column.nulls) return Buffer.from('n');
    if (random() < column.unchanged) return Buffer.from('u');
    const copied = values[column.like];
    if (copied !== undefined && random() < 0.95) return copied;
    const isText = random() < column.texts;
    const draw: Draw = isText ? column.text : column.binary;
    const value = draw(row);
    const head = Buffer.from([isText ? 0x74 : 0x62, 0, 0, 0, 0]);
    head.writeUInt32BE(value.length, 1);
    return Buffer.concat([head, value]);
  };
  return (row) => {
    const values: Buffer[] = [];
    for (const column of columns) values.push(cell(column, row, values));
    const count = Buffer.alloc(2);
    count.writeUInt16BE(columns.length);
    return Buffer.concat([count, ...values]);
  };
}

/** The whole body; deterministic. */
export function makeBody(options: BodyOptions): Buffer {
  const random = seeded(options.seed);
  const shapes = seeded(options.schemaSeed ?? options.seed);
  const writer = new BlockWriter();
  const plain = options.plain ?? false;
  const tables = Array.from({ length: options.tables }, (_, i) => {
    const table = tableOf(shapes, i, options);
    return { ...table, tuple: rowsOf(random, table, plain) };
  });
  let time = 8e14;
  let lsn = 2n ** 32n * 5n;
  let last: Buffer | null = null;
  for (let row = 0; row < options.rows; row++) {
    if (row === 0 ? random() < 0.8 : random() < 0.1) {
      time += below(random, 5000) - 100;
      lsn += BigInt(below(random, 9999));
      writer.begin((random() < 0.01 ? 2n ** 64n - 1n : lsn) as Lsn, BigInt(time), below(random, 2 ** 32));
    }
    const table = pickOne(random, tables);
    const index = writer.relation(table.relation);
    const tuple = table.tuple(row);
    const old = last !== null && tables.length === 1 && random() < 0.7 ? last : table.tuple(row);
    last = tuple;
    const both = Buffer.concat([old, tuple]);
    const change = plain ? 0 : random();
    if (change < 0.5) writer.insert(index, tuple, 0, tuple.length);
    else if (change < 0.6) writer.update(index, null, tuple, 0, 0, 0, tuple.length);
    else if (change < 0.9) {
      writer.update(
        index,
        pickOne(random, ['K', 'O'] as const),
        both,
        0,
        old.length,
        old.length,
        both.length,
      );
    } else if (change < 0.97) writer.delete(index, pickOne(random, ['K', 'O'] as const), old, 0, old.length);
    else if (change < 0.98) writer.truncate([index], below(random, 4));
    else writer.message(lsn as Lsn, 'drover.barrier', Buffer.from(`{"id":"${row}"}`));
  }
  return rawOf(writer);
}
