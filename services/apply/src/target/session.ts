/**
 * One connection to the target, set up to write as a replica: its own replication origin (readers with origin `none` do not
 * capture what it writes, so nothing loops), no triggers or foreign-key checks of the target's own
 * (session_replication_role), and asynchronous commit.
 *
 * Asynchronous commit is safe here: the checkpoint is committed in the same transaction as the rows it speaks of, so a crash of
 * the target takes both back and the stream brings them again. Whoever acts on a checkpoint (a failover opening the tenant)
 * commits synchronously, and WAL is flushed in order, so what it saw is durable with it. Transactions whose outcome is
 * announced (barriers) or final (ledger, parked) commit synchronously themselves.
 */
import { DroverError } from '@drover/core';
import { type ConnectOptions, connectPg } from '@drover/pg';
import type pg from 'pg';
import { type Answer, Flight, fly } from './flight.ts';
import { Out } from './out.ts';
import type { UpdateTurns } from './update-turns.ts';

/** What can run statements, a few at a time. */
export interface Flyer {
  rows(sql: string, params?: readonly (string | null)[]): Promise<readonly (readonly (string | null)[])[]>;
}

/** A row lock held by others for longer than this is treated as this tenant's failure, not as everybody's wait (I7). */
const LOCK_TIMEOUT_MS = 3000;
const STATEMENTS_MAX = 500;

export class Session implements Flyer {
  readonly #client: pg.Client;
  readonly #turns: UpdateTurns | undefined;
  /** The flight that takes the open transaction's turn. */
  #turn: Flight | null = null;
  #out = new Out();
  #busy = false;
  /** Statements that go with the next flight. */
  #held: Flight | null = null;
  /** Row statements prepared on this connection, by their SQL. */
  #prepared = new Map<string, Prepared>();
  #names = 0;
  /** Statements of a failed flight may be left on the server. */
  #stale = false;
  /** Staging tables that exist; those made in the open transaction vanish with it. */
  readonly #stages = new Set<number>();
  #newStages: number[] = [];
  /** Those that hold rows of the open transaction. */
  readonly #filled = new Set<number>();
  #groups = 0;

  private constructor(client: pg.Client, turns: UpdateTurns | undefined) {
    this.#client = client;
    this.#turns = turns;
  }

  /** @throws DroverError `pg.unreachable`, `pg.auth`, `pg.not_set_up`; SQLSTATE 55006 while another session holds the origin. */
  static async open(options: ConnectOptions, origin: string, turns?: UpdateTurns): Promise<Session> {
    const client = await connectPg({ ...options, applicationName: `drover apply ${origin}` });
    const session = new Session(client, turns);
    try {
      await client.query(
        `SELECT pg_catalog.pg_replication_origin_create($1) WHERE pg_catalog.pg_replication_origin_oid($1) IS NULL`,
        [origin],
      );
      await client.query('SELECT pg_catalog.pg_replication_origin_session_setup($1)', [origin]);
      await client.query(`SELECT set_config('session_replication_role', 'replica', false),
        set_config('synchronous_commit', 'off', false), set_config('lock_timeout', '${LOCK_TIMEOUT_MS}', false),
        set_config('statement_timeout', '0', false), set_config('idle_in_transaction_session_timeout', '0', false),
        set_config('row_security', 'off', false)`);
      return session;
    } catch (error) {
      await session.close();
      if (isUndefined(error)) {
        throw new DroverError('pg.not_set_up', 'the target has no schema drover, or its rights are missing', {
          cause: error,
        });
      }
      throw error;
    }
  }

  /** The flight that is held back, to be added to; else a new one in this session's buffer, one at a time. */
  flight(): Flight {
    const held = this.#held;
    this.#held = null;
    if (held !== null) return held;
    if (this.#busy) return new Flight();
    this.#out.reset();
    return new Flight(this.#out);
  }

  /** Nobody needs its answers by themselves: it goes with what is sent next. What fails in it fails there. */
  hold(flight: Flight): void {
    if (flight.out.at > 0) this.#held = flight;
  }

  /** What is added to the flight from here on waits for the turn of its transaction, if sets of rows take turns here. */
  takeTurn(flight: Flight): void {
    if (this.#turns === undefined || this.#turn !== null) return;
    this.#turns.begin(flight);
    this.#turn = flight;
  }

  async send(flight: Flight): Promise<readonly Answer[]> {
    this.#busy = true;
    const leave = this.#turn === flight ? await this.#turns?.enter() : undefined;
    try {
      return await fly(this.#client, flight);
    } catch (error) {
      this.#forgetPrepared();
      // Its bytes may still be on their way out.
      this.#out = new Out();
      throw error;
    } finally {
      leave?.();
      this.#busy = false;
    }
  }

  async rows(
    sql: string,
    params: readonly (string | null)[] = [],
  ): Promise<readonly (readonly (string | null)[])[]> {
    const held = this.#held;
    this.#held = null;
    const flight = held ?? new Flight();
    const at = flight.statements;
    flight.statement(sql, params);
    return (await this.send(flight))[at]?.rows ?? [];
  }

  /** Which of the Parse messages since the last answer took effect is not known. */
  #forgetPrepared(): void {
    this.#prepared = new Map();
    this.#stale = true;
  }

  /** What was held back, or was being built when something failed, is never sent. */
  #dropFlights(): void {
    this.#held = null;
    this.#forgetPrepared();
  }

  /** A statement that every batch has: parsed and planned once. */
  repeated(flight: Flight, sql: string, params: readonly (string | null)[]): void {
    flight.execute(this.prepared(flight, sql, []), params);
  }

  /** Name of the prepared statement; parsed in `flight` when this connection does not have it yet. */
  prepared(flight: Flight, sql: string, types: readonly number[]): string {
    const known = this.#prepared.get(sql);
    // The same words may come for other types, once a column has changed.
    if (known !== undefined && sameTypes(known.types, types)) return known.name;
    if (this.#prepared.size >= STATEMENTS_MAX) {
      this.#prepared = new Map();
      flight.statement('DEALLOCATE ALL', [], true);
    }
    const name = `d${++this.#names}`;
    flight.parse(name, sql, types);
    this.#prepared.set(sql, { name, types });
    return name;
  }

  /** Asked whenever rows are about to be staged. */
  hasStage(id: number): boolean {
    this.#filled.add(id);
    return this.#stages.has(id);
  }

  madeStage(id: number): void {
    this.#stages.add(id);
    this.#newStages.push(id);
  }

  /** What was staged is not needed any more: a commit would see to it, a long transaction has to. */
  async emptyStages(): Promise<void> {
    const names = [...this.#filled]
      .filter((id) => this.#stages.has(id))
      .map((id) => `pg_temp.drover_stage_${id}`);
    this.#filled.clear();
    if (names.length > 0) await this.rows(`TRUNCATE ${names.join(', ')}`);
  }

  /** First of `count` numbers for groups of staged rows, new within the transaction. */
  stageGroups(count: number): number {
    const first = this.#groups;
    this.#groups += count;
    return first;
  }

  committed(): void {
    this.#turn = null;
    this.#filled.clear();
    this.#groups = 0;
    this.#newStages = [];
  }

  /** Staging tables made since the savepoint are gone with it. */
  async rollbackToSavepoint(name: string): Promise<void> {
    for (const id of this.#newStages) this.#stages.delete(id);
    this.#newStages = [];
    this.#dropFlights();
    await this.rows(`ROLLBACK TO SAVEPOINT ${name}`);
  }

  async rollback(): Promise<void> {
    this.#dropFlights();
    this.#turn = null;
    this.#groups = 0;
    for (const id of this.#newStages) this.#stages.delete(id);
    this.#newStages = [];
    const flight = new Flight();
    flight.statement('ROLLBACK');
    if (this.#stale) flight.statement('DEALLOCATE ALL');
    this.#stale = false;
    await this.send(flight);
  }

  async close(): Promise<void> {
    const stream: unknown = this.#client.connection.stream;
    const end = this.#client.end().catch(() => undefined);
    const timer = setTimeout(() => {
      if (
        typeof stream === 'object' &&
        stream !== null &&
        'destroy' in stream &&
        typeof stream.destroy === 'function'
      ) {
        stream.destroy();
      }
    }, 1000);
    await end;
    clearTimeout(timer);
  }
}

interface Prepared {
  readonly name: string;
  readonly types: readonly number[];
}

function sameTypes(a: readonly number[], b: readonly number[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function isUndefined(error: unknown): boolean {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return code === '42883' || code === '42501' || code === '3F000' || code === '42P01';
}
