/**
 * The rules of a configuration as the data plane asks for them: per tenant, then per relation, everything remembered. Tenants for whom the same rules
 * hold share one set, so that memory grows with kinds of tenants, not with tenants.
 */
import type { Relation } from '@drover/block';
import { refused } from '../errors.ts';
import { needTiers, ruleHoldsTable, rulesFor, type Scope } from '../rules/select.ts';
import type { Rule, Stage } from '../rules/types.ts';
import { type CompileContext, compileTransform } from './compile.ts';
import type { TuplePlan } from './tuple-plan.ts';

export interface TransformsOptions {
  readonly rules: readonly Rule[];
  readonly secret: string;
  readonly baseType?: (typeOid: number) => number;
  /** The column that names a row's tenant, if any. */
  readonly tenantColumn: (relation: Relation) => string | undefined;
  /** By which the target finds rows under replica identity FULL; null: it has no such key. */
  readonly primaryKey?: (relation: Relation) => readonly string[] | null | undefined;
}

export class Transforms {
  readonly #options: TransformsOptions;
  readonly #sets = new Map<string, TableTransforms>();

  constructor(options: TransformsOptions) {
    this.#options = options;
  }

  /** Some tenant's rows of this table are under a rule at this stage. */
  covers(stage: Stage, { schema, name }: Pick<Relation, 'schema' | 'name'>): boolean {
    return this.#options.rules.some((rule) => rule.stage === stage && ruleHoldsTable(rule, schema, name));
  }

  /** Columns of the table that some rule of the stage names. */
  columnsNamed(stage: Stage, table: Pick<Relation, 'schema' | 'name'>): ReadonlySet<string> {
    const rules = this.#options.rules.filter(
      (r) => r.stage === stage && ruleHoldsTable(r, table.schema, table.name),
    );
    return new Set(rules.flatMap((rule) => rule.actions.map((action) => action.column)));
  }

  /** Tiers of tenants matter at this stage. */
  needTiers(stage: Stage): boolean {
    return needTiers(this.#options.rules, stage);
  }

  /** Null: nothing is done with this tenant's rows at this stage. */
  for(scope: Scope): TableTransforms | null {
    const rules = rulesFor(this.#options.rules, scope);
    if (rules.length === 0) return null;
    const key = `${scope.tier === undefined ? '?' : ''}${rules.map((rule) => rule.at).join(' ')}`;
    let set = this.#sets.get(key);
    if (set === undefined) {
      set = new TableTransforms(rules, (relation) => this.#context(relation), scope.tier !== undefined);
      this.#sets.set(key, set);
    }
    return set;
  }

  #context(relation: Relation): CompileContext {
    const { secret, baseType, tenantColumn, primaryKey } = this.#options;
    return { secret, baseType, tenantColumn: tenantColumn(relation), primaryKey: primaryKey?.(relation) };
  }
}

export class TableTransforms {
  /** In the order of the file. */
  readonly rules: readonly Rule[];
  readonly #context: (relation: Relation) => CompileContext;
  readonly #tierKnown: boolean;
  readonly #plans = new WeakMap<Relation, TuplePlan | null | Refused>();

  constructor(rules: readonly Rule[], context: (relation: Relation) => CompileContext, tierKnown: boolean) {
    this.rules = rules;
    this.#context = context;
    this.#tierKnown = tierKnown;
  }

  /** Null: the table's rows pass as they are. @throws DroverError `config.invalid` each time, when a rule does not fit the table */
  planFor(relation: Relation): TuplePlan | null {
    let known = this.#plans.get(relation);
    if (known === undefined) {
      known = this.#compile(relation);
      this.#plans.set(relation, known);
    }
    if (known instanceof Refused) throw known.error;
    return known;
  }

  #compile(relation: Relation): TuplePlan | null | Refused {
    try {
      this.#requireTier(relation);
      return compileTransform(this.rules, relation, this.#context(relation));
    } catch (error) {
      return new Refused(error);
    }
  }

  #requireTier({ schema, name }: Relation): void {
    if (this.#tierKnown) return;
    const rule = this.rules.find((r) => r.tier !== undefined && ruleHoldsTable(r, schema, name));
    if (rule === undefined) return;
    throw refused(
      'tier',
      rule.at,
      `table ${schema}.${name}: it is for tier "${rule.tier}", and the tier of the tenant is not known`,
    );
  }
}

class Refused {
  readonly error: unknown;

  constructor(error: unknown) {
    this.error = error;
  }
}
