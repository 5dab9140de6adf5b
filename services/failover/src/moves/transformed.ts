/** Replicas under rules ([[transform]]) hold other rows than were written: none of them may ever serve its tenant. */
import type { Placement } from '@drover/catalog';
import type { Config } from '@drover/config';
import { type ClusterId, DroverError } from '@drover/core';
import { isTransformed, rulesOf } from '@drover/transform';
import type { MoveContext } from './move.ts';

/** @throws DroverError `config.invalid` */
export function transformedBy(config: Config): NonNullable<MoveContext['transformed']> {
  const rules = rulesOf(config);
  return ({ tenant, tier }, target) => isTransformed(rules, { tenant, tier, target });
}

/** @throws DroverError `tenant.transformed` */
export function requireUntransformed(
  context: Pick<MoveContext, 'transformed'>,
  placement: Placement,
  to: ClusterId,
): void {
  if (context.transformed?.(placement, to) !== true) return;
  throw new DroverError('tenant.transformed', why(placement, to), {
    hint: 'take another cluster, or remove the rule of [[transform]] and copy the tenant anew',
    facts: { cluster: to },
  });
}

export function why({ tenant }: Placement, to: ClusterId): string {
  return `${to} holds the rows of ${tenant} under rules of [[transform]], not as they were written`;
}
