/** The rules of a configuration. */
import type { Config } from '@drover/config';
import { parseRules } from './parse-rules.ts';
import type { Rule } from './types.ts';

/** @throws DroverError `config.invalid` */
export function rulesOf(config: Config): Rule[] {
  if (config.transform.length === 0) return [];
  return parseRules(config.transform, {
    file: config.file ?? 'configuration',
    tiers: Object.keys(config.tiers),
    clusters: config.clusters.map(({ name }) => name),
  });
}
