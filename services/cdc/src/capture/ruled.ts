/**
 * Rows of tables under rules of the publish stage ([[transform]]): what is left of a change before anything of it is written into a block. When
 * a rule cannot be carried out, nothing of the row leaves: the tenant's replicas are told instead, and stop. Pure.
 */
import type { Relation } from '@drover/block';
import { describeError, SHARED, type TenantId, UNASSIGNED } from '@drover/core';
import { classifyTable, type Tagging } from '@drover/pg';
import {
  type Change,
  Changer,
  type Rule,
  refused,
  ruleHoldsTable,
  type TableTransforms,
  Transforms,
  type TuplePlan,
} from '@drover/transform';
import { type RuledBefore, RuledMemory } from './ruled-memory.ts';
import type { TypeFacts } from './tenant-value.ts';

/** The rules of this stage, and who can say of which tier a tenant is. */
export interface PublishRules {
  readonly rules: readonly Rule[];
  readonly secret: string;
  /** Undefined: not known. */
  readonly tierOf: (tenant: TenantId) => string | undefined;
}

export interface RuledOptions extends PublishRules {
  readonly tagging: Tagging;
  readonly database: string;
  readonly types: ReadonlyMap<number, TypeFacts>;
  readonly memory?: RuledMemory;
}

/** What becomes of a row; valid until the next one. */
export type Outcome =
  | { readonly kind: 'none' }
  | { readonly kind: 'withheld'; readonly table: string; readonly why: string }
  | (Readonly<Change> & { readonly relation: Relation });

const NONE: Outcome = { kind: 'none' };

export class RuledRows {
  readonly #transforms: Transforms;
  readonly #tierOf: PublishRules['tierOf'];
  readonly #changer = new Changer();
  readonly #memory: RuledMemory;
  /** What was under rules as another table, or with columns that it lacks. */
  readonly #strayed = new WeakMap<Relation, RuledBefore>();

  constructor({ rules, secret, tierOf, tagging, database, types, memory }: RuledOptions) {
    this.#tierOf = tierOf;
    this.#memory = memory ?? new RuledMemory();
    this.#transforms = new Transforms({
      rules,
      secret,
      baseType: (oid) => types.get(oid)?.baseOid ?? oid,
      tenantColumn: ({ schema, name, columns }) => {
        const names = columns.map((column) => column.name);
        const found = classifyTable(tagging, { schema, name, columns: names, database });
        return found.kind === 'column' ? found.column : undefined;
      },
    });
  }

  /** Rows of the table are to be brought here: it is under a rule, or was under one that is still there, by another name. */
  covers(relation: Relation): boolean {
    const transforms = this.#transforms;
    const before = this.#memory.of(relation.oid);
    if (!transforms.covers('publish', relation)) {
      if (before === undefined || !transforms.covers('publish', before)) return false;
      this.#strayed.set(relation, { ...before, columns: [] });
      return true;
    }
    const named = transforms.columnsNamed('publish', relation);
    const columns = relation.columns.map((column) => column.name).filter((name) => named.has(name));
    const gone = (before?.columns ?? []).filter((name) => named.has(name) && !columns.includes(name));
    if (gone.length > 0) this.#strayed.set(relation, { ...relation, columns: gone });
    this.#memory.learn(relation, [...columns, ...gone]);
    return true;
  }

  /** Tables as they are now, for those of which no row comes before they are renamed. */
  seed(tables: readonly Pick<Relation, 'oid' | 'schema' | 'name'>[]): void {
    for (const table of tables) {
      const known = this.#memory.of(table.oid);
      if (this.#transforms.covers('publish', table)) this.#memory.learn(table, known?.columns ?? []);
    }
  }

  insert(tenant: TenantId, relation: Relation, bytes: Buffer, start: number, end: number): Outcome {
    return this.#change(
      tenant,
      relation,
      (plan) => this.#changer.insert(plan, bytes, start, end),
      () => ({ ...NO_CHANGE, relation, kind: 'insert', bytes, newStart: start, newEnd: end }),
    );
  }

  update(
    tenant: TenantId,
    relation: Relation,
    oldKind: 'K' | 'O' | null,
    bytes: Buffer,
    oldStart: number,
    oldEnd: number,
    newStart: number,
    newEnd: number,
  ): Outcome {
    return this.#change(
      tenant,
      relation,
      (plan) => this.#changer.update(plan, oldKind, bytes, oldStart, oldEnd, newStart, newEnd),
      () => ({ relation, kind: 'update', oldKind, bytes, oldStart, oldEnd, newStart, newEnd }),
    );
  }

  delete(
    tenant: TenantId,
    relation: Relation,
    oldKind: 'K' | 'O',
    bytes: Buffer,
    start: number,
    end: number,
  ): Outcome {
    return this.#change(
      tenant,
      relation,
      (plan) => this.#changer.delete(plan, oldKind, bytes, start, end),
      () => ({ ...NO_CHANGE, relation, kind: 'delete', oldKind, bytes, oldStart: start, oldEnd: end }),
    );
  }

  /** As which the table is emptied. */
  relationFor(tenant: TenantId, relation: Relation): Relation | Extract<Outcome, { kind: 'withheld' }> {
    if (tenant === UNASSIGNED) return relation;
    try {
      return this.#planFor(tenant, relation)?.relation ?? relation;
    } catch (error) {
      return withheld(relation, error);
    }
  }

  #change(
    tenant: TenantId,
    relation: Relation,
    ruled: (plan: TuplePlan) => Change,
    plain: () => Outcome,
  ): Outcome {
    // Nobody applies rows that are nobody's; whose rules they would be under cannot be told.
    if (tenant === UNASSIGNED) return NONE;
    try {
      const plan = this.#planFor(tenant, relation);
      if (plan === null) return plain();
      const change = ruled(plan);
      return change.kind === 'none' ? NONE : { ...change, relation: plan.relation };
    } catch (error) {
      return withheld(relation, error);
    }
  }

  #planFor(tenant: TenantId, relation: Relation): TuplePlan | null {
    const tier = tenant === SHARED ? '' : this.#tierOf(tenant);
    const found = this.#transforms.for({ stage: 'publish', tenant, tier });
    const strayed = this.#strayed.get(relation);
    if (found !== null && strayed !== undefined) requireNotStrayed(found, relation, strayed);
    return found?.planFor(relation) ?? null;
  }
}

/** @throws DroverError `config.invalid` when a rule of these was to hold for the table */
function requireNotStrayed(
  { rules }: TableTransforms,
  relation: Relation,
  { schema, name, columns }: RuledBefore,
): void {
  const own = rules.filter((rule) => ruleHoldsTable(rule, schema, name));
  const table = `${relation.schema}.${relation.name}`;
  for (const { at, actions } of own) {
    if (columns.length === 0)
      throw refused(
        'missing_column',
        at,
        `table ${table} was ${schema}.${name}, which the rule names; name it there`,
      );
    const lost = actions.find(({ column }) => columns.includes(column));
    if (lost !== undefined)
      throw refused('missing_column', lost.at, `table ${table} has no column "${lost.column}" any more`);
  }
}

const NO_CHANGE = { oldKind: null, oldStart: 0, oldEnd: 0, newStart: 0, newEnd: 0 } as const;

function withheld({ schema, name }: Relation, error: unknown): Extract<Outcome, { kind: 'withheld' }> {
  return { kind: 'withheld', table: `${schema}.${name}`, why: describeError(error) };
}
