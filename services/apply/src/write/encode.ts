/**
 * Tuples onto the wire, bytes as the source sent them: as rows of COPY … (FORMAT binary) and as parameters of Bind. A binary
 * column of pgoutput is the type's send form, which is what both take (manual, COPY "Binary Format"; 54.7 Bind).
 */
import { DroverError } from '@drover/core';
import {
  BINARY,
  columnCount,
  damaged,
  int32,
  NULL,
  nextColumn,
  TEXT,
  type TupleRef,
  UNCHANGED,
} from '../changes/tuple.ts';
import type { Flight } from '../target/flight.ts';
import { copyRun } from '../target/out.ts';
import type { TablePlan } from '../target/table-plan.ts';

/** Signature, flags, header extension length (manual, COPY "Binary Format"). */
const COPY_HEADER = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');
const CHUNK_BYTES = 128 * 1024;
/** The number of columns, and the group with its length. */
const ROW_HEAD_BYTES = 10;

export class CopyRows {
  readonly #flight: Flight;
  #chunk: number;

  /** @param sql COPY … FROM STDIN (FORMAT binary) */
  constructor(flight: Flight, sql: string) {
    this.#flight = flight;
    flight.copyStart(sql);
    this.#chunk = flight.out.at;
    flight.out.copy(COPY_HEADER, 0, COPY_HEADER.length);
  }

  /** One row of the plan's columns; `group`, when not null, is an int4 before them; staged rows have NULL for unchanged columns. */
  row(plan: TablePlan, tuple: TupleRef, group: number | null): void {
    const { out } = this.#flight;
    if (out.at - this.#chunk > CHUNK_BYTES) {
      this.#flight.copyBreak();
      this.#chunk = out.at;
    }
    const { bytes, start, end } = tuple;
    const { map, text } = plan;
    const count = map.length;
    if (columnCount(bytes, start) !== count) throw damaged('it has more or fewer columns than its relation');
    // Once for the row: this is the innermost loop there is. No value becomes longer, and NULL takes four bytes.
    out.reserve(ROW_HEAD_BYTES + end - start + 4 * count);
    out.int16(plan.columns.length + (group === null ? 0 : 1));
    if (group !== null) {
      out.int32(4);
      out.int32(group);
    }
    const to = out.bytes;
    let size = out.at;
    let at = start + 2;
    for (let i = 0; i < count; i++) {
      const next = nextColumn(bytes, at, end);
      const column = map[i] as number;
      if (column >= 0) {
        if (next === at + 1) {
          if (group === null && bytes[at] === UNCHANGED)
            throw damaged('an inserted row has an unchanged column');
          to[size] = to[size + 1] = to[size + 2] = to[size + 3] = 255; // -1
          size += 4;
        } else {
          if ((bytes[at] === TEXT) !== (text[column] === 1)) throw unexpectedForm(plan, column);
          size = copyRun(bytes, at + 1, next, to, size);
        }
      }
      at = next;
    }
    out.at = size;
  }

  end(): void {
    this.#flight.out.int16(-1);
    this.#flight.copyEnd();
  }
}

/** The two servers disagree about whether a type has a binary form: only single statements, which convert, will do. */
function unexpectedForm(plan: TablePlan, column: number): DroverError {
  const { schema, name } = plan.relation;
  return new DroverError(
    'apply.schema',
    `a value of ${schema}.${name} came in a form the replica's type does not take`,
    {
      facts: { table: `${schema}.${name}`, column: plan.columns[column]?.name },
    },
  );
}

/** Where each written column of a tuple stands: the position of its kind byte, by index in `plan.columns`. */
export function columnOffsets(plan: TablePlan, tuple: TupleRef, into: Int32Array): void {
  const { bytes, start, end } = tuple;
  const count = plan.map.length;
  if (columnCount(bytes, start) !== count) throw damaged('it has more or fewer columns than its relation');
  let at = start + 2;
  for (let i = 0; i < count; i++) {
    const index = plan.map[i] as number;
    if (index >= 0) into[index] = at;
    at = nextColumn(bytes, at, end);
  }
}

/** A parameter of a Bind message: position of a kind byte in a buffer. */
export interface Param {
  readonly bytes: Buffer;
  readonly at: number;
}

/** Writes Bind and Execute for the prepared statement `name`. */
export function bindParams(flight: Flight, name: string, params: readonly Param[]): void {
  const { out } = flight;
  flight.bindStart(name);
  out.int16(params.length);
  // NULL has the text form: for the binary one PostgreSQL asks the type for an input function even then.
  for (const { bytes, at } of params) out.int16(bytes[at] === BINARY ? 1 : 0);
  out.int16(params.length);
  for (const { bytes, at } of params) {
    const kind = bytes[at];
    if (kind === NULL) out.int32(-1);
    else if (kind === BINARY || kind === TEXT) out.copy(bytes, at + 1, at + 5 + int32(bytes, at + 1));
    else throw damaged(kind === UNCHANGED ? 'an unchanged column is needed' : 'unknown kind of column');
  }
  flight.bindEnd();
}
