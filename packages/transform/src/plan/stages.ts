/** All that becomes of a tenant's rows of one table on their way to a target: first as published, then as applied. For those who read tables, not streams. */
import type { Relation } from '@drover/block';
import { rulesFor } from '../rules/select.ts';
import type { Rule } from '../rules/types.ts';
import { textTuple, tupleTexts } from '../values/text-tuple.ts';
import { Changer } from './change.ts';
import { compileTransform } from './compile.ts';
import type { TuplePlan } from './tuple-plan.ts';

export interface StagesRequest {
  readonly rules: readonly Rule[];
  readonly secret: string;
  readonly tenant: string;
  readonly tier: string;
  /** Absent: as published. */
  readonly target?: string | undefined;
  readonly tenantColumn: string | undefined;
  readonly primaryKey: readonly string[] | null;
  /** Domains to the types below. Known at the source, so for what is published alone. */
  readonly baseType?: ((typeOid: number) => number) | undefined;
}

/** Empty: rows pass as they are. @throws DroverError `config.invalid` when a rule does not fit the table */
export function plansOf(source: Relation, request: StagesRequest): TuplePlan[] {
  const { rules, secret, tenant, tier, target, tenantColumn, primaryKey, baseType } = request;
  const form = 'text' as const;
  const published = compileTransform(rulesFor(rules, { stage: 'publish', tenant, tier }), source, {
    ...{ secret, tenantColumn, primaryKey, baseType, form },
  });
  const plans = published === null ? [] : [published];
  if (target === undefined) return plans;
  const key = primaryKey?.map((name) => published?.chains.find((c) => c.name === name)?.outName ?? name);
  const stream = published?.relation ?? source;
  const applied = compileTransform(rulesFor(rules, { stage: 'apply', tenant, tier, target }), stream, {
    ...{ secret, tenantColumn, primaryKey: key ?? null, form },
  });
  return applied === null ? plans : [...plans, applied];
}

/** One row as texts, as PostgreSQL prints them with the settings that Drover pins. Null: a filter leaves it out. */
export class TextRows {
  readonly #plans: readonly TuplePlan[];
  readonly #changer = new Changer();

  constructor(plans: readonly TuplePlan[]) {
    this.#plans = plans;
  }

  row(cells: readonly (string | null)[]): (string | null)[] | null {
    let bytes = textTuple(cells);
    let [start, end] = [0, bytes.length];
    for (const plan of this.#plans) {
      const change = this.#changer.insert(plan, Buffer.from(bytes.subarray(start, end)), 0, end - start);
      if (change.kind === 'none') return null;
      bytes = change.bytes;
      [start, end] = [change.newStart, change.newEnd];
    }
    return tupleTexts(bytes.subarray(start, end));
  }
}
