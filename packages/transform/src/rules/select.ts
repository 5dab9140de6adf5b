/** Which rules hold for a tenant, a target and a table. Pure. */
import type { Rule, Stage } from './types.ts';

export interface Scope {
  readonly stage: Stage;
  readonly tenant: string;
  /** The tenant's tier; undefined: not known, and rules that ask for one can neither hold nor be passed over. */
  readonly tier: string | undefined;
  /** The cluster applied to; absent when publishing. */
  readonly target?: string;
}

/** Rules of the stage for a tenant on a target, in the order of the file; with those of any tier where the tier is not known. */
export function rulesFor(rules: readonly Rule[], scope: Scope): Rule[] {
  return rules.filter(
    (rule) =>
      rule.stage === scope.stage &&
      (rule.tier === undefined || scope.tier === undefined || rule.tier === scope.tier) &&
      (rule.target === undefined || rule.target === scope.target) &&
      (rule.tenants.length === 0 || rule.tenants.some((pattern) => matches(pattern, scope.tenant))),
  );
}

/** Whether any rule of the stage asks for the tenant's tier. */
export function needTiers(rules: readonly Rule[], stage: Stage): boolean {
  return rules.some((rule) => rule.stage === stage && rule.tier !== undefined);
}

/** Whether a replica of the tenant at the target is another than the primary by some rule. `tier` undefined: any tier's rules count. */
export function isTransformed(
  rules: readonly Rule[],
  {
    tenant,
    tier,
    target,
  }: { readonly tenant: string; readonly tier: string | undefined; readonly target: string },
): boolean {
  return (
    rulesFor(rules, { stage: 'publish', tenant, tier }).length > 0 ||
    rulesFor(rules, { stage: 'apply', tenant, tier, target }).length > 0
  );
}

export function ruleHoldsTable(rule: Rule, schema: string, name: string): boolean {
  return rule.tables.some((pattern) => matchesTable(pattern, schema, name));
}

/** The rule names this very table, so each of its columns must be there. */
export function namesExactly(rule: Rule, schema: string, name: string): boolean {
  return rule.tables.includes(`${schema}.${name}`);
}

export function matchesTable(pattern: string, schema: string, name: string): boolean {
  const dot = pattern.indexOf('.');
  return matches(pattern.slice(0, dot), schema) && matches(pattern.slice(dot + 1), name);
}

/** `*` stands for any characters, also none. Linear in the text for each `*`; no regular expression of strangers' making. */
export function matches(pattern: string, text: string): boolean {
  const [head = '', ...tail] = pattern.split('*');
  const last = tail.pop();
  if (last === undefined) return pattern === text;
  if (!text.startsWith(head) || text.length < head.length + last.length) return false;
  let at = head.length;
  for (const part of tail) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return text.length - last.length >= at && text.endsWith(last);
}
