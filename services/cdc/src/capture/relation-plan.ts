/** How the rows of one relation find their tenant: decided once per Relation message, not per row. */
import type { Relation } from '@drover/block';
import { SHARED, type TenantId } from '@drover/core';
import { classifyTable, type Tagging } from '@drover/pg';
import type { RuledRows } from './ruled.ts';
import { type TypeFacts, type ValueKind, valueKind } from './tenant-value.ts';

export type RelationPlan = {
  readonly relation: Relation;
  /** Some tenant's rows of it are under a rule ([[transform]]). */
  readonly ruled: boolean;
} & (
  | {
      readonly kind: 'column';
      readonly index: number;
      readonly value: ValueKind;
      readonly inIdentity: boolean;
    }
  /** The whole table belongs to one tenant, `_shared` for reference tables. */
  | { readonly kind: 'whole'; readonly tenant: TenantId }
  | { readonly kind: 'excluded' }
  | { readonly kind: 'unclassified'; readonly why: string }
);

export interface PlanContext {
  readonly tagging: Tagging;
  readonly database: string;
  /** Grows with the types that are made while it is read. */
  readonly types: Map<number, TypeFacts>;
  /** Null: there are no rules. */
  readonly rules?: RuledRows | null;
}

export function planRelation(relation: Relation, context: PlanContext): RelationPlan {
  const ruled = context.rules?.covers(relation) === true;
  const columns = relation.columns.map((column) => column.name);
  const found = classifyTable(context.tagging, {
    schema: relation.schema,
    name: relation.name,
    columns,
    database: context.database,
  });
  switch (found.kind) {
    case 'column': {
      const index = columns.indexOf(found.column);
      const column = relation.columns[index];
      if (column === undefined)
        return { relation, ruled, kind: 'unclassified', why: `no column "${found.column}"` };
      const value = valueKind(column.typeOid, context.types);
      if (value === 'unsupported') {
        const why = `column "${found.column}" has type ${column.typeOid}, which cannot name a tenant`;
        return { relation, ruled, kind: 'unclassified', why };
      }
      return {
        relation,
        ruled,
        kind: 'column',
        index,
        value,
        inIdentity: column.key || relation.identity === 'f',
      };
    }
    case 'schema':
      return { relation, ruled, kind: 'whole', tenant: found.tenant };
    case 'reference':
      return { relation, ruled, kind: 'whole', tenant: SHARED };
    case 'excluded':
      return { relation, ruled, kind: 'excluded' };
    case 'unclassified':
      return { relation, ruled, kind: 'unclassified', why: found.why };
  }
}
