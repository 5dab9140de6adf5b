/**
 * Batches that update many rows of one database take turns (docs/adr/0015-update-turns.md). Two transactions at once that update rows of the
 * same pages make each other dear: neither finds room on the page, because the other's old row versions may not be pruned while it runs, so both
 * write elsewhere and into each index (no HOT update; manual, 66.7). One after the other, the second finds what the first has left.
 *
 * What a batch stages needs no turn: one works, the next one is at the server with its rows and waits there, so that no time is lost between them.
 */
import type { Flight } from './flight.ts';

/** Batches of fewer rows are over before it would matter. */
export const TURN_ROWS_MIN = 256;
/** One works, one waits at the server. A third would hold a snapshot from before the second has ended. */
const ADMITTED_MAX = 2;

export class UpdateTurns {
  readonly #key: number;
  #admitted = 0;
  readonly #waiting: (() => void)[] = [];

  /** @param key batches with the same key exclude each other in their database, whichever worker they are of */
  constructor(key: number) {
    this.#key = key;
  }

  /** From here to its end the transaction has its turn, or has waited for it for a second (`drover.take_turn`). */
  begin(flight: Flight): void {
    flight.statement('SELECT drover.take_turn($1::int)', [String(this.#key)], true);
  }

  /** Resolves when a flight with {@link begin} may be sent, with what is to be called once it is answered. In order of calls. */
  async enter(): Promise<() => void> {
    if (this.#admitted < ADMITTED_MAX) this.#admitted++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    let over = false;
    return () => {
      if (over) return;
      over = true;
      const next = this.#waiting.shift();
      if (next === undefined) this.#admitted--;
      else next();
    };
  }
}
