/**
 * Who a row belongs to: from the relation's plan and the bytes of its tenant column to the tenant's place in its lane. Nothing
 * is allocated for a value seen before; bounded, whatever a source holds in its tenant columns.
 */
import type { Relation } from '@drover/block';
import { assert, partitionOf, type TenantId, tenantToken, UNASSIGNED } from '@drover/core';
import { COLUMN_BINARY, COLUMN_NULL, COLUMN_UNCHANGED, tupleColumn, tupleField } from '@drover/pg';
import { type Lane, OpenTenant } from './lane.ts';
import { type PlanContext, planRelation, type RelationPlan } from './relation-plan.ts';
import { TenantCache } from './tenant-cache.ts';
import { rowTenant, valueText } from './tenant-value.ts';

/** Why a row has no tenant. */
export type UnassignedReason =
  | 'null_tenant'
  | 'bad_tenant'
  | 'unclassified_table'
  | 'identity_lacks_tenant'
  | 'truncate';

export interface DirectoryOptions {
  /** One per partition, in order. */
  readonly lanes: readonly Lane[];
  readonly plan: PlanContext;
  readonly onUnassigned: (reason: UnassignedReason, relation: Relation, why: string) => void;
}

/** Tenants remembered; beyond, idle ones are forgotten. */
const TENANTS_MAX = 100_000;

export class TenantDirectory {
  readonly #options: DirectoryOptions;
  readonly #plans = new Map<number, RelationPlan>();
  /** Of the transaction in progress whose changes are coming; null: of all. */
  #own: Map<number, RelationPlan> | null = null;
  #lastOid = -1;
  #lastPlan: RelationPlan | undefined;
  readonly #tenants = new Map<string, OpenTenant>();
  readonly #byValue = new TenantCache<OpenTenant | null>();
  readonly #field = tupleField();

  constructor(options: DirectoryOptions) {
    this.#options = options;
  }

  /** A Relation message: holds for all changes of that table from here on. */
  describe(relation: Relation): void {
    (this.#own ?? this.#plans).set(relation.oid, planRelation(relation, this.#options.plan));
    this.#lastOid = -1;
  }

  /** A transaction in progress sees tables as it has made them; null: it is not its turn any more. */
  enter(own: Map<number, RelationPlan> | null): void {
    this.#own = own;
    this.#lastOid = -1;
  }

  /** It has committed: the source counts on its tables being known. */
  adopt(own: ReadonlyMap<number, RelationPlan>): void {
    for (const [oid, plan] of own) this.#plans.set(oid, plan);
    this.#lastOid = -1;
  }

  /** @throws DroverError `internal.assertion` for a relation that was not described */
  planOf(oid: number): RelationPlan {
    if (oid === this.#lastOid && this.#lastPlan !== undefined) return this.#lastPlan;
    const plan = this.#own?.get(oid) ?? this.#plans.get(oid);
    assert(plan !== undefined, 'a change of a relation that was not described', { oid });
    this.#lastOid = oid;
    this.#lastPlan = plan;
    return plan;
  }

  /** Null: not captured; with `orNull` also when the tuple leaves the tenant out as unchanged. */
  tenantOf(plan: RelationPlan, bytes: Buffer, start: number, end: number, orNull = false): OpenTenant | null {
    switch (plan.kind) {
      case 'whole':
        return this.openTenant(plan.tenant);
      case 'excluded':
        return null;
      case 'unclassified':
        return this.#unassigned('unclassified_table', plan.relation, plan.why);
      case 'column':
    }
    const field = tupleColumn(bytes, start, plan.index, this.#field, end);
    if (field.kind === COLUMN_UNCHANGED && orNull) return null;
    if (field.kind === COLUMN_NULL || field.kind === COLUMN_UNCHANGED) {
      return this.#unassigned('null_tenant', plan.relation, 'the tenant column is NULL');
    }
    const binary = field.kind === COLUMN_BINARY;
    // Only bpchar has two spellings of one text; every other text form is canonical.
    const key = binary || plan.value === 'bpchar' ? plan.value : 'text';
    let found = this.#byValue.find(key, bytes, field.start, field.end);
    if (found === undefined) {
      const text = valueText(plan.value, binary, bytes, field.start, field.end);
      const tenant = text === null ? null : rowTenant(text);
      found = tenant === null ? null : this.openTenant(tenant);
      this.#byValue.keep(key, bytes, field.start, field.end, found);
    }
    return found ?? this.#unassigned('bad_tenant', plan.relation, 'the tenant column names no tenant');
  }

  #unassigned(reason: UnassignedReason, relation: Relation, why: string): OpenTenant {
    this.#options.onUnassigned(reason, relation, why);
    return this.openTenant(UNASSIGNED);
  }

  openTenant(tenant: TenantId): OpenTenant {
    let open = this.#tenants.get(tenant);
    if (open === undefined) {
      if (this.#tenants.size >= TENANTS_MAX) this.#forgetIdle();
      const lane = this.#options.lanes[partitionOf(tenant, this.#options.lanes.length)];
      assert(lane !== undefined, 'no lane for a partition');
      open = new OpenTenant(tenant, tenantToken(tenant), lane);
      this.#tenants.set(tenant, open);
    }
    return open;
  }

  /** A source may hold any number of values in its tenant column; memory must not. */
  #forgetIdle(): void {
    for (const [name, open] of this.#tenants) {
      if (open.isIdle) this.#tenants.delete(name);
    }
    this.#byValue.clear();
  }
}
