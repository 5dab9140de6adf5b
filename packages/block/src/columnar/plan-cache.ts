/** The plans of all tables seen lately. Bounded: the table not used for longest is forgotten and planned anew when it comes back. */
import { Plan, type PlanCount } from './plan.ts';

/** A column has about ten, for each kind of change and size of block: some 100 MB in all. */
const PLANS_MAX = 400_000;

interface Table {
  readonly plan: Plan;
  readonly count: PlanCount;
  /** Of the count, as far as it is part of the total. */
  counted: number;
}

export class PlanCache {
  /** The one used last is the last. */
  readonly #tables = new Map<string, Table>();
  readonly #plansMax: number;
  #total = 0;
  /** Blocks that could not be encoded, or did not come back as they were, and were therefore not sent as columns. */
  faults = 0;
  /** Why, the last time. */
  lastFault: unknown = null;
  #lastKey = '';

  constructor(plansMax = PLANS_MAX) {
    this.#plansMax = plansMax;
  }

  /** `key` says name and columns: a table whose columns change gets another plan. */
  table(key: string): Plan {
    let table = this.#tables.get(key);
    if (table === undefined) {
      const count = { value: 0 };
      table = { plan: new Plan(count), count, counted: 0 };
    } else this.#tables.delete(key);
    this.#tables.set(key, table);
    this.#recount(this.#tables.get(this.#lastKey));
    this.#recount(table);
    this.#lastKey = key;
    for (const [oldest, other] of this.#tables) {
      if (this.#total <= this.#plansMax || other === table) break;
      this.#tables.delete(oldest);
      this.#total -= other.counted;
    }
    return table.plan;
  }

  /** Tables it remembers. */
  get size(): number {
    return this.#tables.size;
  }

  noteFault(error: unknown): void {
    this.faults++;
    this.lastFault = error;
  }

  /** A plan grows while it is used: it is counted when the next one is asked for. */
  #recount(table: Table | undefined): void {
    if (table === undefined) return;
    this.#total += table.count.value - table.counted;
    table.counted = table.count.value;
  }
}
