/**
 * Bodies of blocks as a reader makes them of the data benchmark's rows (`test/bench/data/tables.ts`): pgoutput's binary tuples, transactions of ten rows,
 * each body one tenant's.
 */
import { createHash } from 'node:crypto';
import { BlockWriter, Packer, type Relation } from '@drover/block';
import { openEnvelope } from '@drover/block/header.ts';
import { type ClusterId, clusterId, epoch, type Lsn, tenantId } from '@drover/core';
import { RowWriter } from '../compression/row.ts';
import { TENANTS, tenantName } from '../data/tables.ts';

const COLUMNS: readonly (readonly [name: string, typeOid: number, typmod: number])[] = [
  ['id', 20, -1],
  ['tenant_id', 25, -1],
  ['created_at', 1184, -1],
  ['amount', 1700, 786_438],
  ['quantity', 23, -1],
  ['status', 25, -1],
  ['note', 25, -1],
  ['details', 3802, -1],
  ['paid', 16, -1],
  ['updated_at', 1184, -1],
];

const TABLE: Relation = {
  oid: 16_421,
  schema: 'public',
  name: 'ten',
  identity: 'd',
  columns: COLUMNS.map(([name, typeOid, typmod]) => ({
    name,
    typeOid,
    typmod,
    key: name === 'id' || name === 'tenant_id',
  })),
};

const STATUSES = ['new', 'paid', 'shipped', 'returned'];
/** Microseconds from 2000 to 2026. */
const CREATED_US = 820_540_800_000_000;
const FIRST_LSN = 0x1_4a00_0000;
/** What one row takes of the WAL, and a transaction besides. */
const ROW_WAL_BYTES = 330;
const COMMIT_WAL_BYTES = 120;

const md5 = (text: string): string => createHash('md5').update(text).digest('hex');

export function writeRow(row: RowWriter, id: number, tenant: string): void {
  row.start();
  row.int8(id);
  row.text(tenant);
  row.timestamptz(CREATED_US + id * 1_700_000);
  row.numeric((id * 7919) % 1_000_003, 2);
  row.int4(id % 97);
  row.text(STATUSES[id % 4] ?? '');
  row.text(`order ${id} of customer ${md5(String(id))}`);
  // As jsonb prints it: keys by length, then by their bytes.
  row.jsonb(
    `{"ref": "${md5(String(id * 3))}", "sku": "SKU-${(id * 17) % 5000}", "lines": ${id % 9}, "channel": "web"}`,
  );
  row.bool(id % 3 === 0);
  row.null();
}

/** What the header of every block says here; as long as a real one. */
export const META = {
  source: clusterId('east') as ClusterId,
  database: 'app',
  tenant: tenantId('t0000'),
  epoch: epoch(1),
  systemId: '7300000000000000001',
  generation: 1,
  firstLsn: BigInt(FIRST_LSN) as Lsn,
  lastLsn: BigInt(FIRST_LSN) as Lsn,
  part: 0,
  complete: true,
  commitTimeUs: 0n,
};

/** Bodies of `tenant`'s transactions, one after the other. */
export class Bodies {
  readonly #tenant: number;
  readonly #perTransaction: number;
  readonly #row = new RowWriter();
  readonly #writer = new BlockWriter(1 << 16);
  #transaction = 0;

  /** `perTransaction`: rows of one. */
  constructor(tenant: number, perTransaction: number) {
    this.#tenant = tenant;
    this.#perTransaction = perTransaction;
  }

  /** Whole transactions until there are `bytes` of it, or more. */
  next(bytes: number): Buffer {
    const writer = this.#writer;
    writer.reset();
    const name = tenantName(this.#tenant);
    const perTransactionWal = COMMIT_WAL_BYTES + this.#perTransaction * ROW_WAL_BYTES;
    do {
      // The tenants' transactions take turns, as the benchmark's do.
      const number = this.#transaction++ * TENANTS + this.#tenant;
      const lsn = FIRST_LSN + number * perTransactionWal;
      writer.begin(BigInt(lsn) as Lsn, BigInt(CREATED_US + number * 180), 4_000_000 + number);
      const table = writer.relation(TABLE);
      for (let i = 0; i < this.#perTransaction; i++) {
        writeRow(this.#row, number * this.#perTransaction + i, name);
        const { tuple } = this.#row;
        writer.insert(table, tuple, 0, tuple.length);
      }
    } while (writer.size < bytes);
    const block = writer.finish(META, PLAIN);
    return block.subarray(openEnvelope(block).bodyStart);
  }
}

const PLAIN = new Packer('none');

/** Different ones of one size, of different tenants, about `bytes` in all. */
export function bodiesOf(size: number, bytes: number): Buffer[] {
  return Array.from({ length: Math.max(1, Math.round(bytes / size)) }, (_, i) =>
    new Bodies(i % TENANTS, size < 4096 ? 1 : 10).next(size),
  );
}
