/**
 * Every rule against the live tables of the source and its targets, before a row meets it: what the plan would refuse, and what a target's table could
 * not take. Pure: catalogs in, findings out, as doctor gives them.
 */
import { type Finding, finding, ok, quoteTable, sortFindings, type TableInfo } from '@drover/pg';
import { refusalOf } from '../errors.ts';
import { compileTransform } from '../plan/compile.ts';
import type { TuplePlan } from '../plan/tuple-plan.ts';
import { ruleHoldsTable } from '../rules/select.ts';
import type { Rule } from '../rules/types.ts';
import { relationOf } from './live-table.ts';
import { type RuleSet, ruleSets } from './rule-sets.ts';
import { checkTarget } from './target.ts';

export interface ValidateInput {
  readonly rules: readonly Rule[];
  readonly secret: string;
  /** Captured tables of the source. */
  readonly source: { readonly cluster: string; readonly tables: readonly TableInfo[] };
  /** All tables of the targets. */
  readonly targets: readonly { readonly cluster: string; readonly tables: readonly TableInfo[] }[];
  /** The column by which a table's rows find their tenant, if any. */
  readonly tenantColumn: (table: { readonly schema: string; readonly name: string }) => string | undefined;
  /** Domains and their like to the built-in type below. */
  readonly baseType?: (typeOid: number) => number;
}

export function validateTransforms(input: ValidateInput): Finding[] {
  const found = new Map<string, Finding>();
  const add = (finding: Finding) => found.set(JSON.stringify(finding), finding);
  for (const rule of input.rules) {
    for (const finding of aboutRule(rule, input.source.tables)) add(finding);
  }
  for (const table of input.source.tables) {
    const rules = input.rules.filter((rule) => ruleHoldsTable(rule, table.schema, table.name));
    for (const set of ruleSets(rules)) for (const finding of checkTable(table, set, input)) add(finding);
  }
  if (![...found.values()].some((f) => f.severity === 'error')) {
    const object = `cluster ${input.source.cluster}`;
    add(ok('transform', object, `${input.rules.length} transform rules fit their tables`));
  }
  return sortFindings([...found.values()]);
}

function aboutRule(rule: Rule, tables: readonly TableInfo[]): Finding[] {
  const own = tables.filter((t) => ruleHoldsTable(rule, t.schema, t.name));
  if (own.length === 0) {
    const message = `matches no captured table (${rule.tables.join(', ')})`;
    return [finding('warning', 'transform_no_table', rule.at, message)];
  }
  const out: Finding[] = [];
  const made = new Set(rule.actions.flatMap((a) => (a.kind === 'rename' ? [a.to] : [])));
  for (const { at, column } of rule.actions) {
    if (made.has(column) || own.some((t) => t.columns.some((c) => c.name === column))) continue;
    out.push(finding('warning', 'transform_no_column', at, `no table of its rule has a column "${column}"`));
  }
  out.push(
    finding(
      'warning',
      'transform_not_whole',
      rule.at,
      'replicas under this rule do not hold the rows as they were written: no tenant is moved or failed over to them',
    ),
  );
  return out;
}

function checkTable(table: TableInfo, set: RuleSet, input: ValidateInput): Finding[] {
  const object = `table ${table.schema}.${table.name}`;
  const relation = relationOf(table);
  const context = { secret: input.secret, tenantColumn: input.tenantColumn(table), baseType: input.baseType };
  const { primaryKey } = table;
  const published = attempt(object, table, () =>
    compileTransform(set.publish, relation, { ...context, primaryKey }),
  );
  if ('severity' in published) return [published];
  const out = toasted(object, relation.identity, published.plan, set.publish);
  const stream = published.plan?.relation ?? relation;
  for (const { cluster, tables } of input.targets) {
    const target = tables.find((t) => t.schema === table.schema && t.name === table.name);
    const rules = set.apply.filter((rule) => rule.target === undefined || rule.target === cluster);
    const key = target?.primaryKey ?? null;
    const applied = attempt(object, table, () =>
      // A target does not know the source's domains.
      compileTransform(rules, stream, { ...context, baseType: undefined, primaryKey: key }),
    );
    if ('severity' in applied) {
      out.push(applied);
      continue;
    }
    out.push(...toasted(object, relation.identity, applied.plan, rules));
    if (published.plan === null && applied.plan === null) continue; // comparing the two as they are is doctor's
    out.push(...checkTarget({ object, cluster, target, plans: [published.plan, applied.plan] }));
  }
  return out;
}

function attempt(
  object: string,
  table: TableInfo,
  compile: () => TuplePlan | null,
): { plan: TuplePlan | null } | Finding {
  try {
    return { plan: compile() };
  } catch (error) {
    const facts = refusalOf(error);
    if (facts === undefined || !(error instanceof Error)) throw error;
    const mends =
      facts.refusal === 'filter_identity'
        ? [`ALTER TABLE ${quoteTable(table.schema, table.name)} REPLICA IDENTITY FULL`]
        : [];
    return finding('error', `transform_${facts.refusal}`, object, error.message, mends);
  }
}

/** A row that enters a filter is inserted, and must then be whole. */
function toasted(
  object: string,
  identity: string,
  plan: TuplePlan | null,
  rules: readonly Rule[],
): Finding[] {
  if (plan === null || plan.filters.length === 0 || identity === 'f') return [];
  const at = rules.filter((rule) => rule.where !== undefined).map((rule) => `${rule.at}.where`);
  return [
    finding(
      'warning',
      'transform_filter_toast',
      object,
      `${at.join(', ')}: a row that an update brings into the filter cannot be inserted when a large value of it did not change; REPLICA IDENTITY FULL sends it`,
    ),
  ];
}
