/**
 * What was chosen for a column the last time, so that choosing, which costs most of the CPU, happens once in a while. One tree per table:
 * a codec that recurses asks for a child by name.
 */

/** Blocks after which a choice is made anew. */
const FRESH_BLOCKS = 1000;
const DRIFT_BLOCKS = 3;
const DRIFT_RATIO = 1.15;
/** Headers and dictionaries weigh more on small blocks; that is not drift. */
const DRIFT_SLACK_BYTES = 64;
/** However much a column changes, its codec is not chosen anew for so many blocks; twice as many each time that did not help for long. */
const REST_BLOCKS_MIN = 32;
const REST_BLOCKS_MAX = 1024;

/** How many plans a table has, itself included. */
export interface PlanCount {
  value: number;
}

export class Plan {
  /** Codec id; -1: none chosen yet. */
  choice = -1;
  /** What the codec wants to remember (a scale, an exponent, shapes). */
  memory: unknown = undefined;
  /** Encoded bytes per value when it was chosen; -1: not known yet. */
  #expected = -1;
  /** Blocks until it is chosen anew; falls. */
  #fresh = 0;
  /** Blocks in a row that were larger than expected. */
  #drifted = 0;
  #rest = REST_BLOCKS_MIN;
  #children: Map<string, Plan> | null = null;
  readonly #count: PlanCount;

  constructor(count: PlanCount = { value: 0 }) {
    this.#count = count;
    count.value++;
  }

  child(name: string): Plan {
    this.#children ??= new Map();
    let child = this.#children.get(name);
    if (child === undefined) {
      child = new Plan(this.#count);
      this.#children.set(name, child);
    }
    return child;
  }

  /** Whether the codec must be chosen now. */
  get due(): boolean {
    return this.choice < 0 || this.#fresh <= 0;
  }

  /** Remembers what was chosen, for `count` values that took `bytes`; with 0 of both the next block tells. */
  settle(choice: number, bytes: number, count: number): void {
    this.choice = choice;
    this.#expected = count === 0 ? -1 : bytes / count;
    this.#fresh = FRESH_BLOCKS;
    this.#drifted = 0;
  }

  /** Tells what the choice came to this time; enough surprises in a row and it is made anew. */
  observe(bytes: number, count: number): void {
    if (this.#expected < 0) this.#expected = bytes / count;
    this.#fresh--;
    if (bytes <= (this.#expected * count + DRIFT_SLACK_BYTES) * DRIFT_RATIO) {
      this.#drifted = 0;
      return;
    }
    const age = FRESH_BLOCKS - this.#fresh;
    if (++this.#drifted < DRIFT_BLOCKS || age < this.#rest) return;
    this.#rest = age < 2 * this.#rest ? Math.min(2 * this.#rest, REST_BLOCKS_MAX) : REST_BLOCKS_MIN;
    this.#fresh = 0;
  }

  /** Forgets the choices of a part. */
  drop(name: string): void {
    this.#children?.get(name)?.clear();
    if (this.#children?.delete(name)) this.#count.value--;
  }

  /** Forgets the choices of all parts. */
  clear(): void {
    if (this.#children === null) return;
    for (const name of [...this.#children.keys()]) this.drop(name);
    this.#children = null;
  }
}
