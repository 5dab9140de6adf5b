/**
 * A block read into flat arrays: where each change's tuples stand in the block's bytes, and which source transaction
 * they belong to. The body is kept as it is, no object is made per row.
 */
import {
  type BlockHeader,
  type BlockVisitor,
  type KnownRelations,
  type Relation,
  walkBlock,
} from '@drover/block';
import type { Lsn } from '@drover/core';
import type { Profiling } from './profiles.ts';
import { type TargetRules, walkThrough } from './target-rules.ts';
import type { Unsealing } from './unseal.ts';

export const INSERT = 1;
export const UPDATE = 2;
export const DELETE = 3;
export const TRUNCATE = 4;

export interface BlockMessage {
  readonly lsn: Lsn;
  readonly prefix: string;
  readonly content: string;
  /** Changes of the block that stand before it. */
  readonly before: number;
}

/** One source transaction's share of the tenant: changes `from` to `to - 1`, and its logical messages. */
export interface Transaction {
  readonly lsn: Lsn;
  /** Microseconds since 2000-01-01 UTC. */
  readonly timeUs: bigint;
  /** Its number at the source, the lower 32 bits; 0: not known. */
  readonly xid: number;
  readonly from: number;
  to: number;
  readonly messages: BlockMessage[];
}

export interface Truncate {
  readonly relations: readonly number[];
  /** 1 cascade, 2 restart identity. */
  readonly flags: number;
}

export interface DecodedBlock {
  readonly header: BlockHeader;
  readonly relations: readonly Relation[];
  readonly transactions: readonly Transaction[];
  readonly count: number;
  readonly op: Uint8Array;
  readonly relation: Uint16Array;
  /** 0 none, `K`, `O`. */
  readonly oldKind: Uint8Array;
  /** Per change: old start, old end, new start, new end, in `bytes`. */
  readonly at: Int32Array;
  readonly bytes: Buffer;
  readonly truncates: ReadonlyMap<number, Truncate>;
}

const EMPTY = Buffer.alloc(0);
/** One row of the largest that PostgreSQL sends (1 GB, MaxAllocSize) behind a block's worth of others. */
const ROW_BLOCK_BYTES_MAX = 0x4400_0000;

/** What a target needs to read blocks. */
export interface Reading {
  /** Keys of sealed tenants. */
  readonly unsealing: Pick<Unsealing, 'opener'>;
  /** Of small blocks. */
  readonly profiling: Pick<Profiling, 'known'>;
  /** Of blocks read before. */
  readonly relations: KnownRelations;
  /** Of this target; null: rows are read as they were published. */
  readonly rules: TargetRules | null;
}

/** @throws DroverError `block.corrupt`, `block.version`, `block.sealed`, `block.profile`, and `apply.schema` when a rule does not fit */
export function decodeBlock(data: Buffer, header: BlockHeader, reading?: Reading): DecodedBlock {
  const collector = new Collector(header);
  const bounds = { rawBytesMax: ROW_BLOCK_BYTES_MAX };
  const limits =
    reading === undefined
      ? bounds
      : {
          ...bounds,
          opener: reading.unsealing.opener,
          profiles: reading.profiling.known,
          relations: reading.relations,
        };
  const transforms = reading?.rules?.for(header.tenant) ?? null;
  if (transforms === null) walkBlock(data, collector, limits);
  else walkThrough(data, collector, transforms, limits);
  return collector.result();
}

class Collector implements BlockVisitor {
  readonly #header: BlockHeader;
  readonly #relations: Relation[] = [];
  readonly #transactions: Transaction[] = [];
  readonly #truncates = new Map<number, Truncate>();
  readonly #op: Uint8Array;
  readonly #relation: Uint16Array;
  readonly #oldKind: Uint8Array;
  readonly #at: Int32Array;
  #count = 0;
  /** The body. */
  #bytes: Buffer = EMPTY;

  constructor(header: BlockHeader) {
    this.#header = header;
    const { changes } = header;
    // One allocation for all of them: the collector keeps a record of each.
    const memory = new ArrayBuffer(changes * 20);
    this.#at = new Int32Array(memory, 0, changes * 4);
    this.#relation = new Uint16Array(memory, changes * 16, changes);
    this.#op = new Uint8Array(memory, changes * 18, changes);
    this.#oldKind = new Uint8Array(memory, changes * 19, changes);
  }

  relation(_index: number, relation: Relation): void {
    this.#relations.push(relation);
  }

  begin(lsn: Lsn, timeUs: bigint, xid: number): void {
    this.#transactions.push({ lsn, timeUs, xid, from: this.#count, to: this.#count, messages: [] });
  }

  insert(relation: number, bytes: Buffer, start: number, end: number): void {
    this.#bytes = bytes;
    this.#push(INSERT, relation, 0, 0, 0, start, end);
  }

  update(
    relation: number,
    oldKind: 'K' | 'O' | null,
    bytes: Buffer,
    oldStart: number,
    oldEnd: number,
    newStart: number,
    newEnd: number,
  ): void {
    this.#bytes = bytes;
    if (oldKind === null) this.#push(UPDATE, relation, 0, 0, 0, newStart, newEnd);
    else {
      const kind = oldKind.charCodeAt(0);
      this.#push(UPDATE, relation, kind, oldStart, oldEnd, newStart, newEnd);
    }
  }

  delete(relation: number, oldKind: 'K' | 'O', bytes: Buffer, start: number, end: number): void {
    this.#bytes = bytes;
    this.#push(DELETE, relation, oldKind.charCodeAt(0), start, end, 0, 0);
  }

  truncate(relations: readonly number[], flags: number): void {
    this.#truncates.set(this.#count, { relations: [...relations], flags });
    this.#push(TRUNCATE, relations[0] ?? 0, 0, 0, 0, 0, 0);
  }

  message(lsn: Lsn, prefix: string, content: Buffer): void {
    const last = this.#transactions.at(-1);
    const message = { lsn, prefix, content: content.toString('utf8'), before: this.#count };
    // A message stands before its own transaction's commit record; one beyond the current commit is a transaction of its own.
    if (last !== undefined && lsn <= last.lsn) last.messages.push(message);
    else {
      const { commitTimeUs } = this.#header;
      this.#transactions.push({
        lsn,
        timeUs: commitTimeUs,
        xid: 0,
        from: this.#count,
        to: this.#count,
        messages: [message],
      });
    }
  }

  result(): DecodedBlock {
    return {
      header: this.#header,
      relations: this.#relations,
      transactions: this.#transactions,
      count: this.#count,
      op: this.#op,
      relation: this.#relation,
      oldKind: this.#oldKind,
      at: this.#at,
      bytes: this.#bytes,
      truncates: this.#truncates,
    };
  }

  #push(op: number, relation: number, kind: number, a: number, b: number, c: number, d: number): void {
    if (this.#transactions.length === 0) this.begin(this.#header.firstLsn, this.#header.commitTimeUs, 0);
    const n = this.#count++;
    this.#op[n] = op;
    this.#relation[n] = relation;
    this.#oldKind[n] = kind;
    this.#at[n * 4] = a;
    this.#at[n * 4 + 1] = b;
    this.#at[n * 4 + 2] = c;
    this.#at[n * 4 + 3] = d;
    const current = this.#transactions.at(-1);
    if (current !== undefined) current.to = this.#count;
  }
}
