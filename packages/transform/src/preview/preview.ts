/** Before and after: sample rows of one table through the rules of one tenant. Reads the source, changes nothing. */
import type { Relation } from '@drover/block';
import type { TenantId } from '@drover/core';
import { classifyTable, type Queryable, type TableInfo, type Tagging, tenantCondition } from '@drover/pg';
import { relationOf } from '../check/live-table.ts';
import { plansOf, TextRows } from '../plan/stages.ts';
import type { TuplePlan } from '../plan/tuple-plan.ts';
import { ruleHoldsTable, rulesFor } from '../rules/select.ts';
import type { Rule } from '../rules/types.ts';
import { sampleSql } from './sample.ts';

export interface PreviewRequest {
  readonly rules: readonly Rule[];
  readonly secret: string;
  readonly tagging: Tagging;
  readonly database: string;
  readonly table: TableInfo;
  /** Absent: rows of anybody, under the rules for everybody. */
  readonly tenant?: TenantId;
  readonly tier: string;
  /** Absent: as published. */
  readonly target?: string;
  readonly rows: number;
  readonly baseType?: (typeOid: number) => number;
}

export type PreviewCell = string | null;

export interface PreviewRow {
  readonly before: Readonly<Record<string, PreviewCell>>;
  /** Null: the row does not pass a filter. */
  readonly after: Readonly<Record<string, PreviewCell>> | null;
}

export interface Preview {
  readonly table: string;
  /** Rules that hold, in the order they are carried out. */
  readonly rules: readonly string[];
  readonly rows: readonly PreviewRow[];
}

/** @throws DroverError `config.invalid` when a rule does not fit the table */
export async function preview(client: Queryable, request: PreviewRequest): Promise<Preview> {
  const relation = relationOf(request.table);
  const plans = plansFor(relation, request);
  const sql = sampleSql({
    relation,
    condition: conditionFor(request),
    rows: request.rows,
    orderBy: request.table.primaryKey ?? [],
  });
  const { rows } = await client.query<{ cells: PreviewCell[] }>(sql);
  return {
    table: `${relation.schema}.${relation.name}`,
    rules: stages(request).flatMap((rules) => rules.map((rule) => rule.at)),
    rows: rows.map(({ cells }) => through(relation, plans, cells)),
  };
}

function stages(request: PreviewRequest): Rule[][] {
  const { rules, tier, target, table, tenant = '' } = request;
  const here = rules.filter((rule) => ruleHoldsTable(rule, table.schema, table.name));
  const published = rulesFor(here, { stage: 'publish', tenant, tier });
  return target === undefined
    ? [published]
    : [published, rulesFor(here, { stage: 'apply', tenant, tier, target })];
}

function plansFor(source: Relation, request: PreviewRequest): TuplePlan[] {
  const { rules, secret, table, tier, target, tenant = '', baseType } = request;
  const found = classify(request);
  const tenantColumn = found.kind === 'column' ? found.column : undefined;
  const { primaryKey } = table;
  return plansOf(source, { rules, secret, tenant, tier, target, tenantColumn, primaryKey, baseType });
}

function classify({ tagging, table, database }: PreviewRequest): ReturnType<typeof classifyTable> {
  const columns = table.columns.map((c) => c.name);
  return classifyTable(tagging, { schema: table.schema, name: table.name, columns, database });
}

function conditionFor(request: PreviewRequest): string | null {
  if (request.tenant === undefined) return null;
  return tenantCondition(classify(request), request.table.columns, request.tenant) ?? 'false';
}

function through(source: Relation, plans: readonly TuplePlan[], cells: readonly PreviewCell[]): PreviewRow {
  const after = new TextRows(plans).row(cells);
  const relation = plans.at(-1)?.relation ?? source;
  return { before: named(source, cells), after: after === null ? null : named(relation, after) };
}

function named(relation: Relation, cells: readonly PreviewCell[]): Record<string, PreviewCell> {
  return Object.fromEntries(relation.columns.map(({ name }, i) => [name, cells[i] ?? null]));
}
