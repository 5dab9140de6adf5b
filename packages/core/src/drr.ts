/**
 * Deficit round robin (Shreedhar and Varghese, 1996): flows take turns, each with a credit of `quantum × weight` bytes a round. What a turn takes
 * beyond its credit is paid back in later rounds, so its cost need not be known before. Of flows that always have work, what each has had,
 * divided by its weight, differs by no more than two quanta and the largest turn; nobody who has work waits for more than a round. A turn costs O(1), and
 * O(1) more for each quantum of a debt. Pure.
 */
import { assert } from './assert.ts';

export interface Turn<K> {
  readonly key: K;
  /** Bytes it may take; one piece of work is never cut for it. */
  readonly budget: number;
}

interface Flow<K> {
  readonly key: K;
  weight: number;
  /** Bytes; negative: a debt. */
  credit: number;
  taken: boolean;
  waiting: boolean;
}

export class DeficitRoundRobin<K> {
  readonly #quantum: number;
  readonly #flows = new Map<K, Flow<K>>();
  /** Flows with work, in the order of their turns. */
  readonly #ring = new Set<Flow<K>>();
  /** Those of them that have not used up what the round gave them. */
  readonly #first = new Set<Flow<K>>();

  /** @param quantum bytes a round of a flow of weight 1 */
  constructor(quantum: number) {
    assert(quantum > 0, 'a quantum above 0', { quantum });
    this.#quantum = quantum;
  }

  get flows(): number {
    return this.#flows.size;
  }

  has(key: K): boolean {
    return this.#flows.has(key);
  }

  /** A flow; without work yet. Again: another weight. */
  join(key: K, weight: number): void {
    assert(weight > 0, 'a weight above 0', { weight });
    const known = this.#flows.get(key);
    if (known === undefined) this.#flows.set(key, { key, weight, credit: 0, taken: false, waiting: false });
    else known.weight = weight;
  }

  /** Forgotten, and its debt with it. */
  leave(key: K): void {
    const flow = this.#flows.get(key);
    if (flow === undefined) return;
    this.#flows.delete(key);
    this.#ring.delete(flow);
    this.#first.delete(flow);
  }

  /** It has work. Safe to repeat. */
  wake(key: K): void {
    const flow = this.#flows.get(key);
    if (flow === undefined || flow.waiting) return;
    flow.waiting = true;
    if (!flow.taken) this.#queue(flow);
  }

  /** It has none any more; what credit it had is lost, a debt stays. */
  rest(key: K): void {
    const flow = this.#flows.get(key);
    if (flow === undefined) return;
    flow.waiting = false;
    flow.credit = Math.min(0, flow.credit);
    this.#ring.delete(flow);
    this.#first.delete(flow);
  }

  /** Whose turn it is: it is over when it is charged. Null: nobody has work. */
  next(): Turn<K> | null {
    for (const flow of this.#first) return this.#take(flow);
    for (;;) {
      const [flow] = this.#ring;
      if (flow === undefined) return null;
      flow.credit += this.#quantum * flow.weight;
      if (flow.credit > 0) return this.#take(flow);
      this.#ring.delete(flow);
      this.#ring.add(flow);
    }
  }

  /** The turn is over, and took `cost` bytes. Whoever was woken meanwhile, or has `more`, has another. */
  charge(key: K, cost: number, more: boolean): void {
    const flow = this.#flows.get(key);
    if (flow === undefined) return;
    flow.credit -= cost;
    flow.taken = false;
    flow.waiting ||= more;
    if (flow.waiting) this.#queue(flow);
  }

  #take(flow: Flow<K>): Turn<K> {
    this.#first.delete(flow);
    this.#ring.delete(flow);
    flow.taken = true;
    flow.waiting = false;
    return { key: flow.key, budget: flow.credit };
  }

  #queue(flow: Flow<K>): void {
    (flow.credit > 0 ? this.#first : this.#ring).add(flow);
  }
}
