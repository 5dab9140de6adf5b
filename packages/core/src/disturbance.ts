/**
 * How much longer the main lanes' small batches take while bulk is being written beside them: by that, bulk gives way. On a machine with cores to
 * spare it is nothing, and bulk is not held back. Pure.
 */

/** Of two averages; each forgets most of what it knew after so many batches. */
const MEMORY = 1 / 32;
/** Of undisturbed batches: they are few while there is bulk, and must outlast it. */
const LONG_MEMORY = 1 / 128;
/** A batch may take so much longer before it counts. */
const FREE = 1.2;
/** Bulk never waits for longer than so many times what its last piece took: it gets a quarter of the time at least. */
const FACTOR_MAX = 3;

export class Disturbance {
  #alone = 0;
  #beside = 0;

  /** A small batch of a main lane took `ms`, beside bulk or not. */
  note(ms: number, beside: boolean): void {
    if (beside) this.#beside += (ms - this.#beside) * (this.#beside === 0 ? 1 : MEMORY);
    else this.#alone += (ms - this.#alone) * (this.#alone === 0 ? 1 : LONG_MEMORY);
  }

  /** For so many times as long as a piece took does bulk give way behind it, 0 to {@link FACTOR_MAX}. */
  get factor(): number {
    if (this.#alone === 0 || this.#beside === 0) return 0;
    return Math.min(FACTOR_MAX, Math.max(0, this.#beside / this.#alone - FREE));
  }
}
