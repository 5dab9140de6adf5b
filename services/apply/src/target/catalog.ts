/** Plans for the source relations that blocks name, cached until a schema error says that they are old. */
import type { Relation } from '@drover/block';
import type { Session } from './session.ts';
import { planTable, relationSignature, type TablePlan } from './table-plan.ts';
import { readTargetTable } from './target-table.ts';

/** Numbers of plans are never used twice: staging tables of an old plan are left to their session's end. */
let plans = 0;
const PLANS_MAX = 5000;

export class TargetCatalog {
  readonly #plans = new Map<string, TablePlan>();

  /** @throws DroverError `apply.schema` */
  async plan(session: Session, relation: Relation): Promise<TablePlan> {
    const signature = relationSignature(relation);
    const known = this.#plans.get(signature);
    if (known !== undefined) return known;
    const target = await readTargetTable(session, relation.schema, relation.name);
    const plan = planTable(++plans, relation, target);
    if (this.#plans.size >= PLANS_MAX) this.#plans.clear();
    this.#plans.set(signature, plan);
    return plan;
  }

  forget(): void {
    this.#plans.clear();
  }
}
