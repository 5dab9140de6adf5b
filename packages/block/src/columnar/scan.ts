/**
 * A body's records sorted into groups: same relation, same operation. Of each group every column's values are places in the body; the order of the
 * records is kept as a sequence of symbols, the transactions as how many records each has. Nothing is copied.
 */
import { Op } from '../format.ts';
import { Kind, recordEnd, relationTypes, tuplesOf, u16, u32 } from './records.ts';
import type { Slices } from './slices.ts';

/** A kind of record, in order of first appearance. Begin records have none: they are counted instead. */
export interface Symbol {
  readonly op: number;
  /** Index in the block; 0 for records that name none. */
  readonly relation: number;
  readonly group: Group | null;
}

export interface ScannedRelation {
  /** Replica identity, name and columns: what is remembered about a table is shared by the same table of all schemas. */
  readonly key: string;
  readonly typeOids: readonly number[];
}

export interface Group {
  readonly op: number;
  readonly relation: ScannedRelation;
  /** Old columns, if the operation has them, then new ones. */
  readonly columns: number;
  rows: number;
  /** Column by column: value of column c in row r stands at `c * rows + r`. */
  kinds: Uint8Array;
  starts: Uint32Array;
  ends: Uint32Array;
  /** Ordinal of each row's transaction; -1 before the first. */
  transactions: Int32Array;
}

export interface Scan {
  readonly body: Buffer;
  readonly symbols: readonly Symbol[];
  /** Symbol of each record that is not a begin. */
  readonly sequence: Float64Array;
  /** Records before the first begin, after it, after the second, … */
  readonly perTransaction: Float64Array;
  /** Where each begin's 20 bytes start. */
  readonly begins: Uint32Array;
  /** Records kept as they are: relation, truncate, message; without their op byte. */
  readonly verbatim: Slices;
}

const OPS = 16;

/** Null when the bytes are not the records of a writer, with tuples as pgoutput makes them. */
export function scanBody(body: Buffer): Scan | null {
  return new Scanner(body).run();
}

class Scanner {
  readonly #body: Buffer;
  readonly #symbols: Symbol[] = [];
  /** By relation and op. */
  readonly #symbolOf: number[] = [];
  readonly #relations: ScannedRelation[] = [];
  #sequence = new Float64Array(256);
  #records = 0;
  readonly #begins: number[] = [];
  readonly #perTransaction: number[] = [];
  readonly #verbatim: number[] = [];

  constructor(body: Buffer) {
    this.#body = body;
  }

  run(): Scan | null {
    if (!this.#index()) return null;
    for (const { group } of this.#symbols) {
      if (group === null) continue;
      const cells = group.rows * group.columns;
      group.kinds = new Uint8Array(cells);
      group.starts = new Uint32Array(cells);
      group.ends = new Uint32Array(cells);
      group.transactions = new Int32Array(group.rows);
      group.rows = 0;
    }
    if (!this.#slice()) return null;
    const count = this.#verbatim.length / 2;
    const starts = new Uint32Array(count);
    const ends = new Uint32Array(count);
    for (let i = 0; i < count; i++) {
      starts[i] = this.#verbatim[2 * i] as number;
      ends[i] = this.#verbatim[2 * i + 1] as number;
    }
    return {
      body: this.#body,
      symbols: this.#symbols,
      sequence: this.#sequence.subarray(0, this.#records),
      perTransaction: Float64Array.from(this.#perTransaction),
      begins: Uint32Array.from(this.#begins),
      verbatim: { bytes: this.#body, starts, ends, count },
    };
  }

  /** First pass: what records there are. */
  #index(): boolean {
    const body = this.#body;
    let at = 0;
    let since = 0;
    while (at < body.length) {
      const op = body[at] as number;
      if (op === Op.begin) {
        this.#begins.push(at + 1);
        this.#perTransaction.push(this.#records - since);
        since = this.#records;
        at += 21;
        continue;
      }
      const end = recordEnd(body, op, at);
      if (end < 0 || end > body.length) return false;
      const relation = tuplesOf(op) === 0 ? 0 : u16(body, at + 1);
      if (tuplesOf(op) > 0 && relation >= this.#relations.length) return false;
      if (tuplesOf(op) === 0) this.#verbatim.push(at + 1, end);
      if (op === Op.relation && !this.#define(at + 1, end)) return false;
      const symbol = this.#symbol(op, relation);
      if (this.#records === this.#sequence.length) {
        const grown = new Float64Array(this.#records * 2);
        grown.set(this.#sequence);
        this.#sequence = grown;
      }
      this.#sequence[this.#records++] = symbol;
      const { group } = this.#symbols[symbol] as Symbol;
      if (group !== null) group.rows++;
      at = end;
    }
    this.#perTransaction.push(this.#records - since);
    return at === body.length;
  }

  #symbol(op: number, relation: number): number {
    const key = relation * OPS + op;
    const known = this.#symbolOf[key];
    if (known !== undefined) return known;
    const tuples = tuplesOf(op);
    let group: Group | null = null;
    if (tuples > 0) {
      const scanned = this.#relations[relation] as ScannedRelation;
      group = {
        op,
        relation: scanned,
        columns: tuples * scanned.typeOids.length,
        rows: 0,
        kinds: new Uint8Array(0),
        starts: new Uint32Array(0),
        ends: new Uint32Array(0),
        transactions: new Int32Array(0),
      };
    }
    this.#symbols.push({ op, relation, group });
    this.#symbolOf[key] = this.#symbols.length - 1;
    return this.#symbols.length - 1;
  }

  #define(start: number, end: number): boolean {
    const typeOids = relationTypes(this.#body, start, end);
    if (typeOids === null) return false;
    const name = start + 7 + u16(this.#body, start + 5);
    const identity = this.#body.toString('latin1', start + 4, start + 5);
    this.#relations.push({ key: identity + this.#body.toString('latin1', name, end), typeOids });
    return true;
  }

  /** Second pass: where each value stands. */
  #slice(): boolean {
    const body = this.#body;
    let at = 0;
    let record = 0;
    let transaction = -1;
    while (at < body.length) {
      const op = body[at] as number;
      if (op === Op.begin) {
        transaction++;
        at += 21;
        continue;
      }
      const { group } = this.#symbols[this.#sequence[record++] as number] as Symbol;
      if (group === null) {
        at = recordEnd(body, op, at);
        continue;
      }
      const half = group.relation.typeOids.length;
      group.transactions[group.rows] = transaction;
      if (tuplesOf(op) === 1) {
        const start = at + 7;
        at = start + u32(body, at + 3);
        if (!sliceTuple(body, start, at, group, 0, half)) return false;
      } else {
        const start = at + 11;
        const middle = start + u32(body, at + 3);
        at = middle + u32(body, at + 7);
        if (!sliceTuple(body, start, middle, group, 0, half)) return false;
        if (!sliceTuple(body, middle, at, group, half, half)) return false;
      }
      group.rows++;
    }
    return true;
  }
}

/** Fills the cells of one row from one tuple; false when it is not well-formed. */
function sliceTuple(
  body: Buffer,
  start: number,
  end: number,
  group: Group,
  from: number,
  columns: number,
): boolean {
  if (end - start < 2 || u16(body, start) !== columns) return false;
  const { kinds, starts, ends } = group;
  // While slicing `rows` counts up; the arrays know how many there will be.
  const stride = group.transactions.length;
  let cell = from * stride + group.rows;
  let at = start + 2;
  for (let column = 0; column < columns; column++) {
    if (at >= end) return false;
    const kind = body[at] as number;
    kinds[cell] = kind;
    if (kind === Kind.binary || kind === Kind.text) {
      if (at + 5 > end) return false;
      const length = u32(body, at + 1);
      at += 5;
      starts[cell] = at;
      at += length;
      ends[cell] = at;
    } else if (kind === Kind.null || kind === Kind.unchanged) at++;
    else return false;
    cell += stride;
  }
  return at === end;
}
