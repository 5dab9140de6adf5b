/** A table's changes as a stream of rows in transactions, cut into blocks. */
import { zstdDecompressSync } from 'node:zlib';
import { BlockWriter, type Relation } from '@drover/block';
import { openEnvelope } from '@drover/block/header.ts';
import { clusterId, epoch, type Lsn, tenantId } from '@drover/core';
import type { Random } from './random.ts';
import { RowWriter } from './row.ts';

/** Rows of one table. `next` writes one change, through `sink`, and is told when a transaction begins. */
export interface Table {
  readonly name: string;
  readonly columns: readonly (readonly [name: string, typeOid: number])[];
  readonly seed: number;
  make(random: Random): Source;
}

export interface Source {
  /** Rows the next transaction has, and how many microseconds after the last one it commits. */
  transaction(): { rows: number; afterUs: number };
  row(sink: RowSink, time: number): void;
}

export interface RowSink {
  insert(write: (row: RowWriter) => void): void;
  /** Whole old image and new image. */
  update(old: (row: RowWriter) => void, now: (row: RowWriter) => void): void;
  /** Old key only: the other columns are null. */
  delete(write: (row: RowWriter) => void): void;
}

/** One block's rows in all forms. */
export interface Sample {
  readonly raw: Buffer;
  readonly rowBinary: Buffer;
  readonly textBytes: number;
  readonly rows: number;
}

const META = {
  source: clusterId('a'),
  database: 'd',
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

/** Op byte per row and LSN, commit time, xid per transaction: what row binary and text have besides the values. */
const BEGIN_BYTES = 20;

/** When streams begin: late in 2025. */
export const START_US = 820_000_000_000_000;

export class TableStream {
  readonly #table: Table;
  readonly #source: Source;
  readonly #relation: Relation;
  readonly #random: Random;
  readonly #rows: [RowWriter, RowWriter] = [new RowWriter(), new RowWriter()];
  #lsn = 0x1_2345_6780;
  #xid = 4_200_000;
  #time = START_US;

  constructor(table: Table, random: Random) {
    this.#table = table;
    this.#random = random;
    this.#source = table.make(random);
    this.#relation = {
      oid: 16_400 + table.seed,
      schema: 'public',
      name: table.name,
      identity: 'd',
      columns: table.columns.map(([name, typeOid], i) => ({ name, typeOid, typmod: -1, key: i === 0 })),
    };
  }

  /** The next block: whole transactions until it has at least `rows`. */
  block(rows: number): Sample {
    const writer = new BlockWriter(1 << 16);
    const relation = writer.relation(this.#relation);
    const rowBinary: Buffer[] = [];
    const [first, second] = this.#rows;
    let count = 0;
    let textBytes = 0;
    const add = (op: number, row: RowWriter): void => {
      rowBinary.push(Buffer.from([op]), row.rowBinary);
      textBytes += 6 + row.textBytes;
      this.#lsn += 64 + row.tuple.length + this.#random.below(5) * 8;
      count++;
    };
    const sink: RowSink = {
      insert: (write) => {
        first.start();
        write(first);
        writer.insert(relation, first.tuple, 0, first.tuple.length);
        add(0x49, first);
      },
      update: (old, now) => {
        first.start();
        old(first);
        second.start();
        now(second);
        const both = Buffer.concat([first.tuple, second.tuple]);
        writer.update(relation, 'O', both, 0, first.tuple.length, first.tuple.length, both.length);
        add(0x55, first);
        rowBinary.push(second.rowBinary);
        textBytes += 1 + second.textBytes;
      },
      delete: (write) => {
        first.start();
        write(first);
        writer.delete(relation, 'K', first.tuple, 0, first.tuple.length);
        add(0x44, first);
      },
    };
    while (count < rows) {
      const { rows: inside, afterUs } = this.#source.transaction();
      this.#time += afterUs;
      const began = this.#time - Math.floor(this.#random.exponential(400)) - 100;
      // The LSN of the commit is known to pgoutput before the rows are sent.
      this.#lsn += 48 + inside * 200;
      writer.begin(BigInt(this.#lsn) as Lsn, BigInt(this.#time), this.#xid);
      const meta = Buffer.alloc(BEGIN_BYTES);
      meta.writeDoubleLE(this.#lsn, 0);
      meta.writeDoubleLE(this.#time, 8);
      meta.writeUInt32LE(this.#xid, 16);
      rowBinary.push(meta);
      textBytes += BEGIN_BYTES + 1;
      this.#xid += this.#random.chance(0.2) ? this.#random.between(2, 4) : 1;
      for (let i = 0; i < inside; i++) this.#source.row(sink, began);
    }
    const block = writer.finish(META);
    const { bodyStart, encoding } = openEnvelope(block);
    const body = block.subarray(bodyStart);
    return {
      raw: encoding === 'zstd' ? zstdDecompressSync(body) : body,
      rowBinary: Buffer.concat(rowBinary),
      textBytes,
      rows: count,
    };
  }

  get name(): string {
    return this.#table.name;
  }
}
