/**
 * How far each pipeline of one source and database has come, by the source's commits: what takes away or restricts is done when
 * all have passed. In memory, of one process: all pipelines of a target run in one, and heartbeats fill it within a second of a start.
 */
import type { Lsn } from '@drover/core';

/** Before the rows of the transaction at `lsn`, or behind them. */
export interface Place {
  readonly generation: number;
  readonly lsn: Lsn;
  readonly end: boolean;
}

export class Board {
  readonly #partitions: number;
  readonly #reached = new Map<number, Place>();
  readonly #listeners = new Set<() => void>();
  #version = 0;
  /** Changes wait to be completed; not known at a start. */
  pending = true;
  /** They are not tried before (performance.now()). */
  notBefore = 0;

  constructor(partitions: number) {
    this.#partitions = partitions;
  }

  /** Grows with each change of the schema: what was read of the catalog before is old. */
  get version(): number {
    return this.#version;
  }

  changed(): void {
    this.#version++;
  }

  reach(partition: number, place: Place): void {
    const known = this.#reached.get(partition);
    if (known !== undefined && isAtLeast(known, place)) return;
    this.#reached.set(partition, place);
    for (const listener of this.#listeners) listener();
  }

  /**
   * A commit LSN by which what the partition's pipeline has passed of the slot can be told from what it has not: the schema changes it has come to are at or
   * below. Null: not known yet, a heartbeat tells.
   */
  passedBy(partition: number, generation: number): Lsn | null {
    const reached = this.#reached.get(partition);
    if (reached === undefined || reached.generation !== generation) return null;
    return reached.end ? ((reached.lsn + 1n) as Lsn) : reached.lsn;
  }

  /** Have all pipelines come so far? */
  all(place: Place): boolean {
    if (this.#reached.size < this.#partitions) return false;
    for (const reached of this.#reached.values()) if (!isAtLeast(reached, place)) return false;
    return true;
  }

  /** Waits until they have, at most `ms`; false: some have not. */
  async wait(place: Place, ms: number, signal: AbortSignal): Promise<boolean> {
    if (this.all(place)) return true;
    const met = Promise.withResolvers<boolean>();
    const look = (): void => {
      if (this.all(place)) met.resolve(true);
    };
    const stop = (): void => met.resolve(false);
    const timer = setTimeout(stop, ms);
    this.#listeners.add(look);
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    try {
      return await met.promise;
    } finally {
      clearTimeout(timer);
      this.#listeners.delete(look);
      signal.removeEventListener('abort', stop);
    }
  }
}

function isAtLeast(a: Place, b: Place): boolean {
  if (a.generation !== b.generation) return a.generation > b.generation;
  if (a.lsn !== b.lsn) return a.lsn > b.lsn;
  return a.end || !b.end;
}
