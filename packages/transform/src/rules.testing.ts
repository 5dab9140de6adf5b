/** For tests: one rule as it stands in the file. */
import { parseRules } from './rules/parse-rules.ts';
import type { Rule } from './rules/types.ts';

export function rulesOfTest(...raw: readonly object[]): Rule[] {
  return parseRules(raw, { file: 'drover.toml' });
}

export function ruleOf(raw: object): Rule {
  const [rule] = rulesOfTest(raw);
  if (rule === undefined) throw new Error('no rule');
  return rule;
}
