/** What comes out of one plan after the other, column by column: for those who judge it, not for rows. */
import { typeOf } from '../values/types.ts';
import type { TuplePlan } from './tuple-plan.ts';

export interface OutputColumn {
  readonly name: string;
  readonly typeOid: number;
  readonly typeName: string;
  readonly injective: boolean;
  /** The same value in every row. */
  readonly fixed: 'null' | 'value' | undefined;
}

export function describeOutputs(plans: readonly (TuplePlan | null)[]): OutputColumn[] {
  let columns: OutputColumn[] | undefined;
  for (const plan of plans) {
    if (plan === null) continue;
    const before = columns;
    columns = plan.chains.flatMap((chain, source) => {
      if (chain.dropped) return [];
      const earlier = before?.[source];
      const fixed = chain.fixed === undefined ? undefined : chain.fixed.value === null ? 'null' : 'value';
      return [
        {
          name: chain.outName,
          typeOid: chain.outTypeOid,
          typeName: typeOf(chain.outTypeOid)?.name ?? `type ${chain.outTypeOid}`,
          injective: chain.injective && earlier?.injective !== false,
          fixed: fixed ?? earlier?.fixed,
        } as const,
      ];
    });
  }
  return columns ?? [];
}
