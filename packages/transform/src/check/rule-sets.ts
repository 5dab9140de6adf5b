/** Which rules of a table can hold together: those for everybody, and those with each of the narrower ones. */
import type { Rule } from '../rules/types.ts';

export interface RuleSet {
  readonly publish: readonly Rule[];
  /** Of all targets; each takes those meant for it. */
  readonly apply: readonly Rule[];
}

export function ruleSets(rules: readonly Rule[]): RuleSet[] {
  if (rules.length === 0) return [];
  const narrow = rules.filter((rule) => rule.tenants.length > 0 || rule.tier !== undefined);
  const keys = new Set(narrow.map(selector));
  const sets = [...keys].map((key) =>
    rules.filter((rule) => !narrow.includes(rule) || selector(rule) === key),
  );
  const everybody = rules.filter((rule) => !narrow.includes(rule));
  return [...(everybody.length > 0 ? [everybody] : []), ...sets].map((set) => ({
    publish: set.filter((rule) => rule.stage === 'publish'),
    apply: set.filter((rule) => rule.stage === 'apply'),
  }));
}

function selector({ tenants, tier }: Rule): string {
  return JSON.stringify([tenants, tier]);
}
