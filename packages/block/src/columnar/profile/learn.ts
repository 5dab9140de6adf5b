/** Makes a profile's model of earlier messages of one tenant: pure, and the same for the same messages. */
import { ByteWriter } from '../bytes.ts';
import { Kind } from '../records.ts';
import { BYTES, valueType } from '../types.ts';
import { Context } from './context.ts';
import { type CellModel, type GroupModel, KINDS } from './group-model.ts';
import type { IntModel } from './int-model.ts';
import { IntLearner } from './learn-ints.ts';
import { ValueLearner } from './learn-values.ts';
import { type EncodeState, encodeBody } from './message.ts';
import { Event, type ProfileModel } from './model.ts';
import { type Observation, Observations, type ObservedCell, type ObservedGroup } from './observe.ts';
import { RangeEncoder } from './range-coder.ts';
import { Table } from './table.ts';

export interface LearnOptions {
  /** Whose messages these are; no other tenant's may be among them. */
  readonly tenant: string;
  /** Which set of tables, in which state: a name the caller gives, part of what is hashed. */
  readonly tables: string;
}

const DICTIONARY_BYTES = 4096;
/** Values of a column that are looked at: the latest. */
const VALUES_MAX = 4000;
const SAME_MIN = 0.05;
/** Something never seen comes about as often as half a message in all. */
const UNSEEN = 0.5;

/** Null when there is no row in any message. Messages no writer makes are passed over. */
export function learnModel(
  messages: readonly Buffer[],
  { tenant, tables }: LearnOptions,
): ProfileModel | null {
  const seen = new Observations();
  for (const body of messages) if (!seen.add(body)) seen.sequences.pop();
  if (seen.groups.length === 0) return null;
  const ints = new IntLearner();
  const values = new ValueLearner(ints);
  const { begins, relations } = seen;
  const ofBegins = (pick: (begin: (typeof begins)[number]) => number): IntModel =>
    ints.learn({ values: begins.map(pick), rows: begins.map(({ row }) => row) }, 0);
  const model = {
    tenant,
    tables,
    relations,
    groups: seen.groups.map((group) => learnGroup(group, relations[group.relation]?.typeOids ?? [], values)),
    next: sequenceTables(seen),
    lsn: ofBegins(({ lsn }) => lsn),
    time: ofBegins(({ time }) => time),
    xid: ofBegins(({ xid }) => xid),
    length: ints.learn({ values: [], rows: [] }, 0),
    dictionary: Buffer.alloc(0),
    columns: Math.max(...seen.groups.map(({ cells }) => cells.length)),
  };
  const complete = { ...model, ints: ints.count };
  return { ...complete, dictionary: dictionaryFor(complete, messages) };
}

function learnGroup(group: ObservedGroup, typeOids: readonly number[], values: ValueLearner): GroupModel {
  const { op, relation, widths } = group;
  const cells = group.cells.map((cell, column) =>
    learnCell(cell, typeOids[column % typeOids.length] as number, column, values),
  );
  return { op, relation, widths, cells };
}

function learnCell(seen: ObservedCell, typeOid: number, column: number, values: ValueLearner): CellModel {
  const of = (kind: number): Observation[] => (seen.values.get(kind) ?? []).slice(-VALUES_MAX);
  const binary = of(Kind.binary);
  const text = of(Kind.text);
  const [kind, other] = text.length > binary.length ? [Kind.text, Kind.binary] : [Kind.binary, Kind.text];
  const kinds = Table.of(KINDS.map((one) => (seen.kinds.get(one) ?? 0) + UNSEEN / KINDS.length));
  const all = seen.same + seen.others;
  const same = seen.same < all * SAME_MIN ? null : Table.of([seen.same + UNSEEN, seen.others + UNSEEN]);
  return {
    same,
    kinds,
    kind,
    value: values.learn(of(kind), valueType(typeOid, kind === Kind.binary), column),
    rest: values.learn(of(other), BYTES, column),
  };
}

function sequenceTables({ relations, groups, sequences }: Observations): Table[] {
  const events = Event.first + relations.length + groups.length;
  const counts = Array.from({ length: events }, () => new Float64Array(events).fill(UNSEEN / events));
  for (const sequence of sequences) {
    let last: number = Event.end;
    const step = (event: number): void => {
      const row = counts[last] as Float64Array;
      row[event] = (row[event] as number) + 1;
      last = event;
    };
    for (const { event, relation, group } of sequence) {
      step(
        relation >= 0 ? Event.first + relation : group >= 0 ? Event.first + relations.length + group : event,
      );
    }
    step(Event.end);
  }
  return counts.map((row) => Table.of(row));
}

/** The latest of what had to be sent as text, each only once. */
function dictionaryFor(model: ProfileModel, messages: readonly Buffer[]): Buffer {
  const state: EncodeState = {
    range: new RangeEncoder(),
    residue: new ByteWriter(),
    context: new Context(model.columns, model.ints),
  };
  const parts = new Set<string>();
  let size = 0;
  for (let i = messages.length - 1; i >= 0 && size < DICTIONARY_BYTES; i--) {
    if (!encodeBody(messages[i] as Buffer, model, state) || state.residue.size === 0) continue;
    const residue = state.residue.written.toString('latin1');
    if (!parts.has(residue)) size += residue.length;
    parts.add(residue);
  }
  const latestLast = [...parts].reverse().join('');
  return Buffer.from(latestLast, 'latin1').subarray(-DICTIONARY_BYTES);
}
