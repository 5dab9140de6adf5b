/** One message's records, event by event: what comes next, then what it says. */
import { Op } from '../../format.ts';
import { corrupt } from '../../header.ts';
import type { ByteWriter } from '../bytes.ts';
import { recordEnd, relationTypes, tuplesOf } from '../records.ts';
import { BEGIN_BYTES, type RelationDefinition, type Row, walkRecords } from './body.ts';
import type { CodeSink, CodeSource, Context } from './context.ts';
import { readFixedAt, writeFixedAt } from './fixed-at.ts';
import { decodeRow, encodeRow } from './group-model.ts';
import { Event, type ProfileModel } from './model.ts';
import type { RangeEncoder } from './range-coder.ts';

/** Kept with a profile: used again for each message. */
export interface EncodeState {
  readonly range: RangeEncoder;
  readonly residue: ByteWriter;
  readonly context: Context;
}

/** False when the bytes are not the records of a writer. */
export function encodeBody(raw: Buffer, model: ProfileModel, state: EncodeState): boolean {
  state.range.reset();
  state.residue.size = 0;
  state.context.reset();
  const encoder = new BodyEncoder(model, state);
  if (!walkRecords(raw, encoder)) return false;
  encoder.event(Event.end);
  return true;
}

class BodyEncoder {
  readonly #model: ProfileModel;
  readonly #to: CodeSink;
  #last: number = Event.end;
  /** By index in the message: index in the profile, or -1. */
  readonly #relations: number[] = [];

  constructor(model: ProfileModel, to: CodeSink) {
    this.#model = model;
    this.#to = to;
  }

  event(event: number): void {
    this.#model.next[this.#last]?.put(this.#to.range, event);
    this.#last = event;
  }

  relation({ bytes }: RelationDefinition, start: number, end: number): void {
    const known = this.#model.relations.findIndex((one) => one.bytes.equals(bytes));
    // Defined twice: rows could mean either.
    const index = this.#relations.includes(known) ? -1 : known;
    this.#relations.push(index);
    if (index >= 0) this.event(Event.first + index);
    else this.#verbatim(Buffer.concat([Buffer.from([Op.relation]), bytes]), 0, end - start);
  }

  begin(body: Buffer, at: number): void {
    const lsn = readFixedAt(body, at, at + 8, 8);
    const time = readFixedAt(body, at + 8, at + 16, 8);
    if (Number.isNaN(lsn) || Number.isNaN(time)) {
      this.#to.context.time = Number.NaN;
      this.#verbatim(body, at - 1, at + BEGIN_BYTES);
      return;
    }
    this.event(Event.begin);
    this.#model.lsn.put(this.#to, lsn);
    this.#model.time.put(this.#to, time);
    this.#model.xid.put(this.#to, body.readUInt32BE(at + 16));
    this.#to.context.time = time;
  }

  row(body: Buffer, row: Row, start: number, end: number): void {
    const { groups, relations } = this.#model;
    const relation = this.#relations[row.relation];
    const number = groups.findIndex((group) => group.op === row.op && group.relation === relation);
    const group = groups[number];
    if (group === undefined) {
      this.#verbatim(body, start, end);
      return;
    }
    this.event(Event.first + relations.length + number);
    encodeRow(group, row, body, this.#to);
  }

  other(body: Buffer, start: number, end: number): void {
    this.#verbatim(body, start, end);
  }

  #verbatim(bytes: Buffer, start: number, end: number): void {
    this.event(Event.other);
    this.#model.length.put(this.#to, end - start);
    this.#to.residue.copy(bytes, start, end);
  }
}

/** Fills the body. @throws DroverError `block.corrupt` */
export function decodeBody(model: ProfileModel, from: CodeSource): void {
  /** By index in the profile: index in the message, or -1. */
  const relations = new Int32Array(model.relations.length).fill(-1);
  let defined = 0;
  let last: number = Event.end;
  for (;;) {
    const event = model.next[last]?.get(from.range) ?? Event.end;
    last = event;
    if (event === Event.end) return;
    if (event === Event.begin) decodeBegin(model, from);
    else if (event === Event.other) defined += decodeOther(model, from);
    else if (event < Event.first + relations.length) {
      const { bytes } = model.relations[event - Event.first] as RelationDefinition;
      from.out.bytes[from.out.take(1)] = Op.relation;
      from.out.copy(bytes, 0, bytes.length);
      relations[event - Event.first] = defined++;
    } else {
      const group = model.groups[event - Event.first - relations.length];
      const relation = group === undefined ? -1 : (relations[group.relation] as number);
      if (group === undefined || relation < 0 || relation > 65_535) throw corrupt('a row is of no table');
      decodeRow(group, relation, tuplesOf(group.op), from);
    }
  }
}

function decodeBegin(model: ProfileModel, from: CodeSource): void {
  const { out, context } = from;
  const at = out.take(1 + BEGIN_BYTES);
  out.bytes[at] = Op.begin;
  const lsn = model.lsn.get(from);
  const time = model.time.get(from);
  const xid = model.xid.get(from);
  if (xid < 0 || xid > 0xffffffff) throw corrupt('a transaction id is out of range');
  writeFixedAt(out.bytes, at + 1, 8, lsn);
  writeFixedAt(out.bytes, at + 9, 8, time);
  out.bytes.writeUInt32BE(xid, at + 17);
  context.time = time;
}

/** @returns how many relations the record defines */
function decodeOther(model: ProfileModel, from: CodeSource): number {
  const { out, context } = from;
  const length = model.length.get(from);
  if (length < 1) throw corrupt('a record is empty');
  const start = from.residue.take(length);
  const { bytes } = from.residue;
  out.copy(bytes, start, start + length);
  const op = bytes[start] as number;
  if (op === Op.begin) context.time = Number.NaN;
  const record = bytes.subarray(start, start + length);
  if (op !== Op.relation || recordEnd(record, op, 0) !== length) return 0;
  return relationTypes(record, 1, length) === null ? 0 : 1;
}
