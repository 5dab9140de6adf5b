/**
 * Many statements in one round trip: extended-protocol messages, COPY data among them, closed by one Sync. The server
 * answers in order; from the first error on it ignores everything up to the Sync (manual, 54.2.3), so nothing behind a
 * failed statement runs.
 *
 * Stands on `pg`'s Submittable interface (as pg-cursor and pg-copy-streams do).
 */
import type pg from 'pg';
import { Out } from './out.ts';

/** What a statement answered. */
export interface Answer {
  /** Rows affected, from the command tag. */
  readonly count: number;
  /** Text form. */
  readonly rows: readonly (readonly (string | null)[])[];
}

const PARSE = 0x50;
const BIND = 0x42;
const EXECUTE = 0x45;
const SYNC = 0x53;
const COPY_DATA = 0x64;
const COPY_DONE = 0x63;

interface Wire {
  stream: { write(bytes: Buffer): boolean; writable: boolean };
}

/** Statements on their way; built by {@link Flight.statement} and friends, sent by `session.send`. */
export class Flight {
  readonly out: Out;
  readonly #answers: Answer[] = [];
  #rows: (readonly (string | null)[])[] = [];
  #statements = 0;
  #completed = 0;
  readonly #silent = new Set<number>();
  #failure: Error | undefined;
  readonly promise: Promise<readonly Answer[]>;
  readonly #resolve: (answers: readonly Answer[]) => void;
  readonly #reject: (error: Error) => void;

  constructor(out: Out = new Out()) {
    this.out = out;
    const { promise, resolve, reject } = Promise.withResolvers<readonly Answer[]>();
    this.promise = promise;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Statements whose answers will be given. */
  get statements(): number {
    return this.#statements - this.#silent.size;
  }

  /** Answers that have arrived: the index of the failed statement when the flight was rejected. */
  get answered(): number {
    return this.#answers.length;
  }

  /** A statement with text parameters. `silent`: its answer is not wanted. */
  statement(sql: string, params: readonly (string | null)[] = [], silent = false): void {
    if (silent) this.#silent.add(this.#statements);
    this.parse('', sql, []);
    this.execute('', params);
  }

  /** A prepared statement with text parameters. */
  execute(name: string, params: readonly (string | null)[]): void {
    this.bindStart(name);
    const { out } = this;
    out.int16(0);
    out.int16(params.length);
    for (const param of params) this.#text(param);
    this.bindEnd();
  }

  parse(name: string, sql: string, types: readonly number[]): void {
    const { out } = this;
    out.begin(PARSE);
    out.cstring(name);
    out.cstring(sql);
    out.int16(types.length);
    for (const type of types) out.int32(type);
    out.end();
  }

  /** Opens a Bind message: the caller writes parameter formats and values, then calls {@link bindEnd}. */
  bindStart(name: string): void {
    this.out.begin(BIND);
    this.out.cstring('');
    this.out.cstring(name);
  }

  bindEnd(): void {
    const { out } = this;
    out.int16(0);
    out.end();
    out.begin(EXECUTE);
    out.cstring('');
    out.int32(0);
    out.end();
    this.#statements++;
  }

  copyStart(sql: string): void {
    this.statement(sql, [], true);
    this.out.begin(COPY_DATA);
  }

  /** Between rows: keeps each CopyData message of a size the server likes to read. */
  copyBreak(): void {
    this.out.end();
    this.out.begin(COPY_DATA);
  }

  copyEnd(): void {
    this.out.end();
    this.out.begin(COPY_DONE);
    this.out.end();
  }

  #text(param: string | null): void {
    const { out } = this;
    if (param === null) {
      out.int32(-1);
      return;
    }
    const length = Buffer.byteLength(param);
    out.int32(length);
    out.reserve(length);
    out.at += out.bytes.write(param, out.at);
  }

  // What `pg` calls.

  submit(connection: Wire): Error | undefined {
    this.out.begin(SYNC);
    this.out.end();
    if (!connection.stream.writable) return new Error('Connection terminated');
    connection.stream.write(this.out.bytes.subarray(0, this.out.at));
    return undefined;
  }

  handleDataRow(message: { fields: (string | null)[] }): void {
    this.#rows.push(message.fields);
  }

  handleCommandComplete(message: { text: string }): void {
    if (this.#silent.has(this.#completed++)) {
      this.#rows = [];
      return;
    }
    const tag = / (\d+)$/.exec(message.text);
    this.#answers.push({ count: tag?.[1] === undefined ? 0 : Number(tag[1]), rows: this.#rows });
    this.#rows = [];
  }

  handleReadyForQuery(): void {
    if (this.#failure === undefined) this.#resolve(this.#answers);
    else this.#reject(this.#failure);
  }

  handleError(error: Error): void {
    this.#failure ??= error;
    this.#reject(error);
  }

  handleEmptyQuery(): void {}
  handleRowDescription(): void {}
  handlePortalSuspended(): void {}
  handleCopyInResponse(): void {}
  handleCopyData(): void {}
}

/** Sends a flight; resolves with one answer per statement, rejects with the first error. */
export function fly(client: pg.Client, flight: Flight): Promise<readonly Answer[]> {
  // The Submittable's type in @types/pg knows only `submit`.
  client.query(flight as unknown as pg.Submittable);
  return flight.promise;
}
