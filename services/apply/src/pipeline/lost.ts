/**
 * What a pipeline does when its position means nothing any more: it waits for what the source has kept, where there is such a thing
 * (`begin-anew.ts`), or parks who has lost something (`lose-all.ts`).
 */
import { streamName, streamState } from '@drover/bus';
import { cancelled, DroverError, formatLsn } from '@drover/core';
import type { Session } from '../target/session.ts';
import { type Beginning, beginAnew, findBeginning } from './begin-anew.ts';
import type { PipelineDeps } from './deps.ts';
import { loseAll } from './lose-all.ts';
import type { Progress } from './progress.ts';
import type { Start } from './start.ts';

/** A reader that publishes for so long after a loss without a word of it has not noticed. */
const BEGIN_MS = 15_000;

export class LostStream {
  readonly #deps: PipelineDeps;
  readonly #progress: Progress;
  /** Since when a stream that was lost is waited for, Unix ms. */
  #sinceMs: number | null = null;

  constructor(deps: PipelineDeps, progress: Progress) {
    this.#deps = deps;
    this.#progress = progress;
  }

  /** The position means something. */
  found(): void {
    this.#sinceMs = null;
  }

  /** Resolves when there is a position again. @throws DroverError `bus.lost` as long as there may be one soon */
  async handle(session: Session, start: Start, error: DroverError, signal: AbortSignal): Promise<void> {
    const { bus, source, partition, database, durability } = this.#deps;
    if (durability !== 'applied' || error.code !== 'bus.recreated') {
      await this.#loseAll(session, error);
      return;
    }
    this.#sinceMs ??= Date.now();
    const state = await streamState(bus, source, partition);
    if (state !== undefined) {
      const lane = { source, partition, database, state };
      const { beginning, newestMs } = await findBeginning(bus, lane, start.lineage, start.applied, signal);
      if (
        beginning !== null &&
        (state.created !== start.created || beginning.entry.timeMs > (start.anchor?.timeMs ?? 0))
      ) {
        await this.beginAnew(session, { ...start, created: state.created }, beginning);
        return;
      }
      // A reader that publishes has begun by saying so, or does not know of a loss.
      const silent = state.created === start.created ? newestMs > this.#sinceMs + BEGIN_MS : newestMs > 0;
      if (silent) {
        await this.#loseAll(session, error);
        return;
      }
    }
    if (signal.aborted) throw cancelled();
    throw new DroverError(
      'bus.lost',
      `${error.message}: waiting until the reader of ${source} publishes again what its slot holds`,
    );
  }

  /** The stream says that it has lost what was before. */
  async beginAnew(session: Session, start: Start, beginning: Beginning): Promise<void> {
    const { source, partition, partitions, log } = this.#deps;
    this.#progress.marks.clear(); // of sequences that mean something else from here on
    const { parked, reason } = await beginAnew(session, {
      source,
      partition,
      partitions,
      stream: streamName(source, partition),
      created: start.created,
      known: start.lineage,
      applied: start.applied,
      beginning,
    });
    const level = parked.length > 0 ? 'error' : 'warn';
    log[level]('the stream has lost what it held, and goes on from what the source had kept', {
      from: formatLsn(beginning.lsn),
      seq: beginning.entry.seq,
      reason,
      parked,
    });
  }

  /** Every tenant the stream feeds may have lost changes. */
  async #loseAll(session: Session, error: DroverError): Promise<void> {
    const { bus, source, partition, partitions, log } = this.#deps;
    const stream = streamName(source, partition);
    const state = await streamState(bus, source, partition);
    this.#progress.marks.clear();
    const loss = { source, partition, partitions, stream, state, error };
    const { parked, reason } = await loseAll(session, loss);
    log.error('the stream has lost its past: tenants are parked until they are copied anew', {
      tenants: parked,
      reason,
    });
  }
}
