/**
 * The target's side of a transaction in progress: one open transaction on a connection of its own, with a savepoint before the first row of
 * each subtransaction. One call at a time.
 */
import { type Lsn, must } from '@drover/core';
import { type BatchResult, type Target, writeWork } from '../apply/batch.ts';
import type { Work } from '../apply/route.ts';
import type { DecodedBlock } from '../changes/decoded-block.ts';
import type { Entry } from '../changes/entry.ts';
import type { PipelineDeps } from '../pipeline/deps.ts';
import { arrayLiteral } from '../target/array-literal.ts';
import { TargetCatalog } from '../target/catalog.ts';
import { Session } from '../target/session.ts';
import { Abandoned } from './abandoned.ts';
import { type CommitSide, commitTogether, routedOf, type Together } from './commit-together.ts';
import { committedAt, runsOf } from './part-rows.ts';

export interface OpenTransactionOptions {
  readonly deps: PipelineDeps;
  readonly stream: string;
  /** Replication origin of its connection. */
  readonly origin: string;
  readonly xid: number;
}

/** A part of one tenant. */
export interface Piece {
  /** Number of the tenant. */
  readonly tenant: number;
  readonly entry: Entry;
  readonly block: DecodedBlock;
}

/** Subtransactions that are open at once at most: each has its price at the target. */
const SAVEPOINTS_MAX = 64;

export class OpenTransaction {
  readonly #options: OpenTransactionOptions;
  readonly #catalog: TargetCatalog;
  readonly #savepoints: number[] = [];
  #session: Session | undefined;
  #rows = 0;

  constructor(options: OpenTransactionOptions) {
    this.#options = options;
    this.#catalog = new TargetCatalog(options.deps.source, options.deps.board);
  }

  /** @throws DroverError `pg.*`; SQLSTATE 55006 while another session holds the origin, 53400 when there is none left */
  async open(): Promise<void> {
    const { deps, origin } = this.#options;
    this.#session = await Session.open(deps.connect, origin);
    const flight = this.#session.flight();
    flight.statement('BEGIN ISOLATION LEVEL READ COMMITTED');
    flight.statement('SET CONSTRAINTS ALL DEFERRED');
    await this.#session.send(flight);
  }

  /**
   * The pieces of one cut, rows in the source's order as far as subtransactions go; within one, tenant by tenant. `lsn`: where it has committed;
   * while it has not, behind the schema changes that its rows stand behind.
   */
  async write(pieces: readonly Piece[], tenants: readonly string[], lsn: Lsn): Promise<void> {
    const { xid } = this.#options;
    const runs = pieces.flatMap(({ tenant, entry, block }) => {
      const placed = { ...entry, block: committedAt(block, { lsn, timeUs: 0n, xid }) };
      return runsOf(block).map((run) => ({ ...run, tenant, entry: placed }));
    });
    runs.sort((a, b) => a.number - b.number);
    let work: Work[] = [];
    for (const { subxid, tenant, entry, from, to } of runs) {
      if (subxid !== xid && !this.#savepoints.includes(subxid)) {
        await this.#flush(work, tenants);
        work = [];
        await this.#savepoint(subxid);
      }
      work.push({ entry, tenant, lenient: false, from, to });
    }
    await this.#flush(work, tenants);
    await this.#options.deps.failpoint?.('streamed-written');
  }

  /** With it goes what came after its first row: at the source, too, all of that was within it. */
  async rollBack(subxid: number): Promise<void> {
    const at = this.#savepoints.indexOf(subxid);
    if (at < 0) return;
    this.#savepoints.length = at;
    await this.#live.rollbackToSavepoint(`s${subxid}`);
    await this.#live.rows(`RELEASE SAVEPOINT s${subxid}`);
    this.#catalog.forget();
  }

  /** How many of them this pipeline feeds, and how. */
  async fed(tenants: readonly string[], feeds: readonly string[]): Promise<number> {
    const fed = await this.#live.rows(
      `SELECT tenant FROM drover.tenant WHERE tenant = ANY ($1::text[]) AND role = 'replica' AND source = $2 AND feed = ANY ($3::text[])`,
      [arrayLiteral(tenants), this.#options.deps.source, arrayLiteral(feeds)],
    );
    return fed.length;
  }

  /** Null: nothing was committed. */
  async commit(together: Omit<Together, 'rows'>, side: CommitSide): Promise<BatchResult | null> {
    const { failpoint } = this.#options.deps;
    await failpoint?.('streamed-commit');
    const result = await commitTogether(this.#target(), { ...together, rows: this.#rows }, side);
    await failpoint?.('streamed-committed');
    return result;
  }

  /** What was not committed is gone. */
  async close(): Promise<void> {
    await this.#session?.close();
  }

  async #flush(work: readonly Work[], tenants: readonly string[]): Promise<void> {
    if (work.length === 0) return;
    await writeWork(this.#target(), routedOf(work, tenants), 'folded');
    await this.#live.emptyStages();
    this.#rows += work.reduce((sum, { from, to }) => sum + to - from, 0);
  }

  async #savepoint(subxid: number): Promise<void> {
    if (this.#savepoints.length >= SAVEPOINTS_MAX) throw new Abandoned('it has many subtransactions');
    await this.#live.rows(`SAVEPOINT s${subxid}`);
    this.#savepoints.push(subxid);
  }

  get #live(): Session {
    return must(this.#session, 'connection of an open transaction');
  }

  #target(): Target {
    const { cluster, source, partition, failpoint } = this.#options.deps;
    const { stream } = this.#options;
    return { cluster, source, partition, stream, session: this.#live, catalog: this.#catalog, failpoint };
  }
}
