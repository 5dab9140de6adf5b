/**
 * One transaction in progress at the source, kept open at the target: the rows of all its tenants of one partition are written as they come, in one
 * target transaction with a savepoint for each subtransaction, and committed together with the tenants' checkpoints when the source has
 * committed (I2, I3). It is a shortcut and may end at any moment: what is not committed here is read from the stream again by the tenants' own
 * lanes, at the commit's place (read-again.ts).
 *
 * It reads the stream by itself, never beyond the main lane: so whatever committed at the source before a row is there when the row is
 * written. It holds no tenant's row in drover.tenant before the commit.
 */
import { type BlockHeader, isStreamed, readHeader, type StreamedTogether } from '@drover/block';
import { consume, type InMessage } from '@drover/bus';
import {
  cancelled,
  type Deferred,
  DroverError,
  deferred,
  describeError,
  isCancelled,
  type Lsn,
  type Share,
  sleep,
} from '@drover/core';
import type { BatchResult } from '../apply/batch.ts';
import { type DecodedBlock, decodeBlock } from '../changes/decoded-block.ts';
import { type EarlyHeader, type Entry, NO_ENTRY } from '../changes/entry.ts';
import type { PipelineDeps } from '../pipeline/deps.ts';
import { Abandoned } from './abandoned.ts';
import type { CommitSide } from './commit-together.ts';
import { OpenTransaction, type Piece } from './open-transaction.ts';
import { patienceMs } from './patience.ts';

export interface GroupOptions {
  readonly deps: PipelineDeps;
  readonly stream: string;
  readonly created: string;
  /** Replication origin of its connection. */
  readonly origin: string;
  readonly signal: AbortSignal;
}

/** How often it looks whether its tenants are still fed. */
const LOOK_MS = 250;
/** Without a row for so long it lets go of its locks. */
const IDLE_MS = 600_000;

export class Group {
  readonly xid: number;
  readonly attempt: string;
  readonly #options: GroupOptions;
  readonly #open: OpenTransaction;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  /** Of the main lane. */
  #passed = 0;
  #moved: Deferred<void> = deferred();
  #tick: Deferred<void> = deferred();
  /** By sequence of the part: may its rows be written, and how large is it? Those that the main lane has passed and we have not. */
  readonly #ready = new Map<number, { readonly ready: boolean; readonly bytes: number }>();
  #leftBytes = 0;
  /** Number of each tenant, in order; and the part that comes next. */
  readonly #tenants = new Map<string, { readonly number: number; next: number }>();
  /** Tenants whose rows are, or will be, written here. */
  readonly #taken = new Set<string>();
  /** Blocks of the piece at hand. */
  #pieces: Piece[] = [];
  #writing: Promise<void> | undefined;
  /** Everything before the commit is written; false: it has ended otherwise. */
  readonly #written: Deferred<boolean> = deferred();
  /** The main lane has gone past the commit and left it to us. */
  #left: { readonly entry: Entry; readonly header: EarlyHeader & { streamed: StreamedTogether } } | null =
    null;
  readonly #ended: Deferred<void> = deferred();
  /** The connection is the main lane's. */
  #deciding = false;
  #share: Share | undefined;
  #touchedMs = performance.now();
  #lookedMs = performance.now();

  constructor(first: Entry, options: GroupOptions) {
    const { early } = first;
    if (early?.streamed.kind !== 'part')
      throw new DroverError('internal.assertion', 'a group begins with a part');
    this.xid = early.streamed.xid;
    this.attempt = early.streamed.attempt;
    this.#options = options;
    this.#open = new OpenTransaction({ ...options, xid: this.xid });
    this.#signal = AbortSignal.any([options.signal, this.#stop.signal]);
  }

  /** The main lane has passed everything up to `seq`, this part too. */
  part(entry: Entry, ready: boolean): void {
    this.#ready.set(entry.seq, { ready, bytes: entry.stored });
    this.#leftBytes += entry.stored;
    if (ready && entry.early?.part === 0) this.#taken.add(entry.tenant);
  }

  passed(seq: number): void {
    this.#passed = Math.max(this.#passed, seq);
    this.#wake();
  }

  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Until it has ended: then its rows are committed, or gone. */
  holds(tenant: string): boolean {
    return this.#taken.has(tenant);
  }

  abandon(why: string): void {
    this.#stop.abort(new Abandoned(why));
  }

  /** Never throws: what fails here is done again at the commit. `startSeq`: of the first part. */
  async run(startSeq: number): Promise<void> {
    const { log } = this.#options.deps;
    const clock = this.#clock();
    try {
      await this.#open.open();
      await this.#read(startSeq);
      this.#written.resolve(true);
      await this.#finish();
    } catch (error) {
      const why = this.#stop.signal.aborted ? this.#stop.signal.reason : error;
      if (!isCancelled(why)) {
        const fields = { xid: this.xid, tenants: this.#tenants.size, why: describeError(why) };
        log.info('a transaction in progress is not kept open', fields);
      }
      this.#stop.abort(why);
    } finally {
      this.#written.resolve(false);
      this.#stop.abort(new Abandoned('it has ended'));
      await clock;
      this.#share?.leave();
      await this.#open.close();
      this.#ended.resolve();
    }
  }

  /**
   * The main lane has come to the commit. The result when everything was written and has been committed, soon enough (patience.ts); null: the tenants'
   * lanes come to it, in their own time.
   */
  async commit(
    entry: Entry,
    header: EarlyHeader & { streamed: StreamedTogether },
    side: CommitSide,
  ): Promise<BatchResult | null> {
    const left = { parts: this.#ready.size, bytes: this.#leftBytes };
    const late = new AbortController();
    const written = await Promise.race([
      this.#written.promise,
      sleep(patienceMs(left, this.#taken.size), late.signal).then(() => undefined),
    ]);
    late.abort();
    if (written === undefined) {
      this.#left = { entry, header };
      this.#wake();
      return null;
    }
    if (!written || this.#stop.signal.aborted) return null;
    this.#deciding = true;
    try {
      return await this.#commit(entry, header, side);
    } catch (error) {
      this.#stop.abort(error);
      throw error;
    } finally {
      this.#stop.abort(new Abandoned('it is decided'));
      await this.#ended.promise;
    }
  }

  #wake(): void {
    this.#moved.resolve();
    this.#moved = deferred();
  }

  async #read(startSeq: number): Promise<void> {
    const { deps, created } = this.#options;
    const messages = consume(deps.bus, {
      cluster: deps.source,
      partition: deps.partition,
      startSeq,
      expectCreated: created,
      signal: this.#signal,
    });
    for (;;) {
      const next = await this.#looking(messages.next());
      if (next.done === true) throw this.#signal.aborted ? this.#signal.reason : cancelled();
      if (isStreamed(next.value.data) && (await this.#message(next.value))) break;
    }
    void messages.return();
  }

  /** True at the commit. */
  async #message(message: InMessage): Promise<boolean> {
    const header = readHeader(message.data);
    const { streamed } = header;
    if (streamed === undefined || header.database !== this.#options.deps.database) return false;
    if (streamed.kind === 'session') {
      if (streamed.attempt !== this.attempt) throw new Abandoned('the source is read anew');
      return false;
    }
    if (streamed.attempt !== this.attempt || streamed.xid !== this.xid) return false;
    this.#touchedMs = performance.now();
    switch (streamed.kind) {
      case 'part':
        await this.#part(message, header, streamed.last);
        return false;
      case 'rollback':
        if (streamed.subxid === this.xid) throw new Abandoned('the source has rolled it back');
        await this.#settled();
        await this.#open.rollBack(streamed.subxid);
        return false;
      case 'together':
        await this.#settled();
        return true;
      case 'commit':
        throw new Abandoned('it was committed by other hands');
    }
  }

  async #part(message: InMessage, header: BlockHeader, last: boolean): Promise<void> {
    while (this.#passed < message.seq) await this.#looking(this.#moved.promise);
    const { ready, bytes } = this.#ready.get(message.seq) ?? NOT_READY;
    this.#ready.delete(message.seq);
    this.#leftBytes -= bytes;
    const known = this.#tenants.get(header.tenant);
    if (known !== undefined && !ready) throw new Abandoned(`${header.tenant} is not live any more`);
    const key = this.#options.deps.unsealing.ready(message.data);
    if (key !== null) await this.#looking(key);
    // Who has had a part before that was not written is left to a lane of its own.
    if (known === undefined ? ready && header.part === 0 : header.part === known.next)
      this.#take(message, header);
    else if (known !== undefined) throw new Abandoned(`part ${known.next} of ${header.tenant} is missing`);
    if (!last) return;
    // While one piece is on its way through PostgreSQL, the next is read.
    await this.#settled();
    // Later changes of the schema may stand before us at the target: other pipelines make them, and do not wait for us for long.
    const lsn = this.#left?.header.lastLsn ?? this.#schemaAt(header);
    this.#writing = this.#write(this.#pieces, lsn);
    this.#writing.catch(() => undefined); // thrown where it is waited for
    this.#pieces = [];
  }

  /**
   * While it has not committed, none of its tables changes at the source once it has written to it, so rows stand behind the changes that our own lane
   * has come to (any more of these ends us), and before all others.
   */
  #schemaAt({ generation }: BlockHeader): Lsn {
    const { board, partition } = this.#options.deps;
    const lsn = board.passedBy(partition, generation);
    if (lsn === null) throw new Abandoned('how far its lane has come is not known yet');
    return lsn;
  }

  /** When it is its turn, beside the lanes of other tenants: it counts as much as the first of its own. */
  async #write(pieces: readonly Piece[], lsn: Lsn): Promise<void> {
    const { turns, weightOf } = this.#options.deps;
    const tenants = [...this.#tenants.keys()];
    this.#share ??= turns.join(() => weightOf(tenants[0] ?? ''));
    const turn = await this.#share.take(this.#signal);
    try {
      await this.#open.write(pieces, tenants, lsn);
    } finally {
      turn.done(pieces.reduce((sum, { entry }) => sum + entry.size, 0));
    }
  }

  async #settled(): Promise<void> {
    const writing = this.#writing;
    this.#writing = undefined;
    await writing;
  }

  #take(message: InMessage, header: BlockHeader): void {
    const block = this.#decoded(message, header);
    if (block === null) return;
    const tenant = this.#tenants.get(header.tenant) ?? { number: this.#tenants.size, next: 0 };
    this.#tenants.set(header.tenant, tenant);
    tenant.next++;
    // Until it ends others wait for it, and holding it would hold up whoever reads the replica.
    if (block.truncates.size > 0) throw new Abandoned('it empties a table');
    const { seq, firstSeq, data } = message;
    const entry = {
      ...NO_ENTRY,
      kind: 'block' as const,
      to: 1,
      tenant: header.tenant,
      seq,
      firstSeq,
      size: data.length,
    };
    this.#pieces.push({ tenant: tenant.number, entry, block });
  }

  /** Null: its key cannot be had, and nothing of the tenant is written here. Its lane comes to that at the commit. */
  #decoded(message: InMessage, header: BlockHeader): DecodedBlock | null {
    try {
      return decodeBlock(message.data, header, this.#options.deps);
    } catch (error) {
      const sealed = error instanceof DroverError && error.code === 'block.sealed';
      if (!sealed || this.#tenants.has(header.tenant)) throw error;
      this.#taken.delete(header.tenant);
      return null;
    }
  }

  /** Everything is written: the main lane commits it, or has left that to us. */
  async #finish(): Promise<void> {
    for (;;) {
      const left = this.#left;
      // Behind the tenants' own commits: there each of them was handed to its lane, which waits for us.
      if (left !== null && this.#passed >= left.entry.seq + left.header.streamed.tenants) {
        const result = await this.#commit(left.entry, left.header, { lane: 'catchup', position: null });
        if (result === null) throw new Abandoned('a tenant is not where it was');
        this.#options.deps.applied(result, 0);
        return;
      }
      await this.#looking(this.#moved.promise);
    }
  }

  #commit(entry: Entry, header: EarlyHeader, side: CommitSide): Promise<BatchResult | null> {
    return this.#open.commit({ entry, header, tenants: [...this.#tenants.keys()] }, side);
  }

  /** Waits, and looks after the tenants meanwhile. @throws Abandoned */
  async #looking<T>(what: Promise<T>): Promise<T> {
    let settled = false;
    const done = what.finally(() => {
      settled = true;
    });
    done.catch(() => undefined);
    while (!settled) {
      await Promise.race([done, this.#tick.promise]);
      if (this.#signal.aborted) throw this.#signal.reason;
      if (!settled || performance.now() - this.#lookedMs > LOOK_MS) await this.#look();
    }
    return done;
  }

  /** Ends whoever waits now and then: one timer for all of them, since there is a wait for each message. */
  async #clock(): Promise<void> {
    while (!this.#signal.aborted) {
      await sleep(LOOK_MS, this.#signal);
      this.#tick.resolve();
      this.#tick = deferred();
    }
    this.#tick.resolve();
  }

  async #look(): Promise<void> {
    if (this.#signal.aborted) throw this.#signal.reason;
    if (this.#deciding) return;
    await this.#settled(); // one thing after the other on the connection
    this.#lookedMs = performance.now();
    if (performance.now() - this.#touchedMs > IDLE_MS) throw new Abandoned('it has been idle for long');
    const feeds = this.#left === null ? ['live'] : ['live', 'catchup'];
    const fed = await this.#open.fed([...this.#tenants.keys()], feeds);
    if (fed < this.#tenants.size) throw new Abandoned('a tenant is not live any more');
  }
}

const NOT_READY = { ready: false, bytes: 0 };
