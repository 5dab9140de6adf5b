/**
 * Transactions of several parts in a lane: one that has committed and is cut into blocks, or one in progress, whose parts stand earlier in the
 * stream and are read again. Each is written in one target transaction; what may pass is tried again from its first part on.
 */
import { cancelled, sleep } from '@drover/core';
import { classifyPgError, SQLSTATE } from '@drover/pg';
import type { BatchResult, Target } from '../apply/batch.ts';
import { applyBig } from '../apply/big-transaction.ts';
import { park, verdictOf } from '../apply/executor.ts';
import type { Entry } from '../changes/entry.ts';
import { Paced } from '../fair/paced.ts';
import { type CommitHeader, commitOf, readAgain } from '../streamed/read-again.ts';
import type { Lane, LanesOptions } from './lane.ts';
import { isRecreated } from './lost-lane.ts';

/** How long a transaction waits, with its locks, for the main lane. */
const PASS_MS = 1000;
/** One that violates a constraint is tried so often before it counts as the tenant's failure. */
const VIOLATION_TRIES = 5;

class Overtaken extends Error {
  readonly seq: number;

  constructor(seq: number) {
    super('the main lane has not come so far');
    this.seq = seq;
  }
}

export class LaneParts {
  readonly #options: LanesOptions;
  /** Tenants whose transaction met what may pass: how often, and when it is tried again (performance.now()). */
  readonly #again = new Map<string, { readonly tries: number; readonly atMs: number }>();
  /** None is begun before the main lane is here. */
  #overtaken = 0;

  constructor(options: LanesOptions) {
    this.#options = options;
  }

  /** The lane has met what may pass, and its time has not come. */
  rests(lane: Lane): boolean {
    return (this.#again.get(lane.tenant)?.atMs ?? 0) > performance.now();
  }

  mayBegin(position: number): boolean {
    return position >= this.#overtaken;
  }

  /** What the lane's head begins; null: it has met what may pass, and the lane is to be opened anew. @throws what is not one tenant's failure */
  async write(lane: Lane, target: Target): Promise<BatchResult | null> {
    const { head } = lane.queue;
    const commit = head === undefined ? null : commitOf(head);
    const started = performance.now();
    try {
      const { result, last } = await (commit === null
        ? this.#committed(lane, target)
        : this.#inProgress(lane, target, commit));
      this.#options.deps.applied(result, (performance.now() - started) / 1000);
      this.#again.delete(lane.tenant);
      lane.seq = last;
      return result;
    } catch (error) {
      this.#noteWhatPasses(lane, error);
      return null;
    }
  }

  /** @throws the error, if it does not pass */
  #noteWhatPasses(lane: Lane, error: unknown): void {
    if (error instanceof Overtaken) {
      this.#overtaken = error.seq;
      return;
    }
    if (classifyPgError(error).sqlstate === SQLSTATE.schemaMoved) return;
    const tries = this.#triesOf(lane) + 1;
    if (!mayPass(error, tries - 1)) throw error;
    this.#again.set(lane.tenant, { tries, atMs: performance.now() + Math.min(1000, 25 * 2 ** tries) });
  }

  async #committed(lane: Lane, target: Target): Promise<{ result: BatchResult; last: number }> {
    const { signal } = this.#options;
    let last = lane.seq;
    const next = async (): Promise<Entry> => {
      let entry = await lane.queue.one(signal);
      // Of transactions in progress that another reading has begun, or of another database.
      while (entry.kind === 'part' || entry.kind === 'elsewhere') entry = await lane.queue.one(signal);
      await this.#mainPasses(entry.seq);
      last = entry.seq;
      if (entry.error !== null) throw entry.error;
      return entry;
    };
    const paced = new Paced(lane.share, AbortSignal.any([signal, lane.stop.signal]));
    const turn = () => paced.next(next);
    try {
      const result = await applyBig(target, await turn(), turn, this.#howLong(lane));
      return { result, last };
    } finally {
      paced.end();
    }
  }

  async #inProgress(
    lane: Lane,
    target: Target,
    header: CommitHeader,
  ): Promise<{ result: BatchResult; last: number }> {
    const { deps, created, signal } = this.#options;
    const commit = await lane.queue.one(signal);
    const parts = readAgain({ ...deps, created, signal }, commit, header);
    const next = async (): Promise<Entry> => {
      const { value, done } = await parts.next();
      if (done === true || value === undefined) throw cancelled();
      return value;
    };
    const paced = new Paced(lane.share, AbortSignal.any([signal, lane.stop.signal]));
    try {
      const first = await next().catch((error: unknown) => {
        if (verdictOf(error) !== 'tenant' || isRecreated(error)) throw error;
        return error instanceof Error ? error : new Error(String(error));
      });
      // They have left the stream, or are damaged: that is this tenant's loss alone.
      if (first instanceof Error)
        return { result: await park(target, commit, first, deps.log), last: commit.seq };
      const result = await applyBig(target, first, () => paced.next(next), this.#howLong(lane));
      return { result, last: commit.seq };
    } finally {
      paced.end();
      await parts.return();
    }
  }

  #howLong(lane: Lane): Parameters<typeof applyBig>[3] {
    const pass = (error: unknown) => isRecreated(error) || mayPass(error, this.#triesOf(lane));
    return { log: this.#options.deps.log, mayPass: pass };
  }

  #triesOf(lane: Lane): number {
    return this.#again.get(lane.tenant)?.tries ?? 0;
  }

  /** @throws Overtaken when it does not: a schema change in the middle of a transaction waits for the locks that the lane holds */
  async #mainPasses(seq: number): Promise<void> {
    const { position, signal } = this.#options;
    const deadline = performance.now() + PASS_MS;
    while (position() < seq) {
      if (performance.now() > deadline) throw new Overtaken(seq);
      if (!(await sleep(20, signal))) throw cancelled();
    }
  }
}

/** Locks, and rows of another tenant's that are about to go (they move between tenants), do. */
function mayPass(error: unknown, tries: number): boolean {
  const { kind, sqlstate } = classifyPgError(error);
  if (sqlstate === '55P03' || kind === 'deadlock' || kind === 'serialization') return true;
  return kind === 'conflict' && tries < VIOLATION_TRIES;
}
