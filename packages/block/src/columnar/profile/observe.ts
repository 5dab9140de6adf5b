/** What earlier messages held, sorted for learning: the values of each column with what was known when they came. */
import { Kind, tuplesOf } from '../records.ts';
import { type RelationDefinition, type Row, walkRecords } from './body.ts';
import { readFixedAt } from './fixed-at.ts';
import { intAt, sameCell, widthsOf } from './group-model.ts';
import { Event } from './model.ts';

/** What was known when a row came. */
export interface RowFacts {
  /** Number of its message. */
  readonly message: number;
  readonly time: number;
  readonly ints: Float64Array;
}

export interface Observation {
  readonly bytes: Buffer;
  readonly row: RowFacts;
}

export interface ObservedCell {
  /** By kind of value. */
  readonly values: Map<number, Observation[]>;
  readonly kinds: Map<number, number>;
  same: number;
  others: number;
}

export interface ObservedGroup {
  readonly op: number;
  readonly relation: number;
  readonly widths: readonly number[];
  readonly cells: readonly ObservedCell[];
}

export interface ObservedBegin {
  readonly lsn: number;
  readonly time: number;
  readonly xid: number;
  readonly row: RowFacts;
}

/** More are carried as they are: every event can follow every other, so tables grow with the square. */
const RELATIONS_MAX = 64;
const GROUPS_MAX = 192;

const NO_INTS = new Float64Array(0);

export class Observations {
  readonly relations: RelationDefinition[] = [];
  readonly groups: ObservedGroup[] = [];
  readonly begins: ObservedBegin[] = [];
  /** What came after what, message by message: relations and groups by their number, as yet without offset. */
  readonly sequences: { readonly relation: number; readonly group: number; readonly event: number }[][] = [];
  #message = 0;
  #time = Number.NaN;
  /** By index in the message. */
  #inMessage: number[] = [];

  /** False when the bytes are not the records of a writer. */
  add(body: Buffer): boolean {
    this.#message++;
    this.#time = Number.NaN;
    this.#inMessage = [];
    this.sequences.push([]);
    return walkRecords(body, this);
  }

  #event(event: number, relation = -1, group = -1): void {
    this.sequences.at(-1)?.push({ event, relation, group });
  }

  relation(definition: RelationDefinition): void {
    let index = this.relations.findIndex(({ bytes }) => bytes.equals(definition.bytes));
    if (index < 0 && this.relations.length < RELATIONS_MAX) index = this.relations.push(definition) - 1;
    this.#inMessage.push(index);
    this.#event(index < 0 ? Event.other : Event.first, index);
  }

  begin(body: Buffer, at: number): void {
    const lsn = readFixedAt(body, at, at + 8, 8);
    const time = readFixedAt(body, at + 8, at + 16, 8);
    this.#time = time;
    this.#event(Event.begin);
    if (Number.isNaN(lsn) || Number.isNaN(time)) return;
    const row = { message: this.#message, time: Number.NaN, ints: NO_INTS };
    this.begins.push({ lsn, time, xid: body.readUInt32BE(at + 16), row });
  }

  row(body: Buffer, row: Row): void {
    const relation = this.#inMessage[row.relation] as number;
    const number = relation < 0 ? -1 : this.#group(row, relation);
    if (number < 0) {
      this.other();
      return;
    }
    const { cells, widths } = this.groups[number] as ObservedGroup;
    this.#event(Event.first, -1, number);
    const ints = new Float64Array(cells.length);
    const facts = { message: this.#message, time: this.#time, ints };
    const old = cells.length / 2;
    const hasOld = tuplesOf(row.op) === 2;
    cells.forEach((cell, column) => {
      const kind = row.kinds[column] as number;
      const start = row.starts[column] as number;
      const end = row.ends[column] as number;
      ints[column] = intAt(widths[column] as number, kind, body, start, end);
      if (hasOld && column >= old && sameCell(row, body, column, column - old)) {
        cell.same++;
        return;
      }
      cell.others++;
      cell.kinds.set(kind, (cell.kinds.get(kind) ?? 0) + 1);
      if (kind === Kind.null || kind === Kind.unchanged) return;
      const values = cell.values.get(kind) ?? [];
      values.push({ bytes: body.subarray(start, end), row: facts });
      cell.values.set(kind, values);
    });
  }

  #group(row: Row, relation: number): number {
    const known = this.groups.findIndex((group) => group.op === row.op && group.relation === relation);
    if (known >= 0 || this.groups.length === GROUPS_MAX) return known;
    const { typeOids } = this.relations[relation] as RelationDefinition;
    const cells = Array.from({ length: row.columns }, () => ({
      values: new Map<number, Observation[]>(),
      kinds: new Map<number, number>(),
      same: 0,
      others: 0,
    }));
    return this.groups.push({ op: row.op, relation, widths: widthsOf(typeOids, row.columns), cells }) - 1;
  }

  other(): void {
    this.#event(Event.other);
  }
}
