/**
 * Rules of the apply stage ([[transform]]) for one target: blocks are read through them, so that everything behind (folding, writing, the ledger)
 * sees the rows as this target is to hold them. A rule that cannot be carried out stops its tenant like a schema that does not fit.
 */
import { type BlockVisitor, type Relation, walkBlock } from '@drover/block';
import { DroverError, SHARED, type TenantId } from '@drover/core';
import { classifyTable, type Tagging } from '@drover/pg';
import { type Rule, refusalOf, type TableTransforms, Transforms, transformed } from '@drover/transform';

export interface TargetRulesOptions {
  readonly rules: readonly Rule[];
  readonly secret: string;
  readonly tagging: Tagging;
  readonly database: string;
  /** The target. */
  readonly cluster: string;
  /** Undefined: not known. */
  readonly tierOf: (tenant: TenantId) => string | undefined;
}

export class TargetRules {
  readonly #options: TargetRulesOptions;
  readonly #transforms: Transforms;

  /** Null: nothing is done at this target. */
  static of(options: TargetRulesOptions): TargetRules | null {
    const { rules, cluster } = options;
    const some = rules.some((r) => r.stage === 'apply' && (r.target === undefined || r.target === cluster));
    return some ? new TargetRules(options) : null;
  }

  private constructor(options: TargetRulesOptions) {
    const { rules, secret, tagging, database } = options;
    this.#options = options;
    this.#transforms = new Transforms({
      rules,
      secret,
      tenantColumn: ({ schema, name, columns }: Relation) => {
        const names = columns.map((column) => column.name);
        const found = classifyTable(tagging, { schema, name, columns: names, database });
        return found.kind === 'column' ? found.column : undefined;
      },
    });
  }

  /** Null: the tenant's blocks are read as they are. */
  for(tenant: string): TableTransforms | null {
    const { cluster, tierOf } = this.#options;
    const tier = tenant === SHARED ? '' : tierOf(tenant as TenantId);
    return this.#transforms.for({ stage: 'apply', tenant, tier, target: cluster });
  }
}

/** @throws DroverError `block.*`, and `apply.schema` when a rule does not fit */
export function walkThrough(
  data: Buffer,
  visitor: BlockVisitor,
  transforms: TableTransforms,
  limits: Parameters<typeof walkBlock>[2],
): void {
  try {
    walkBlock(data, transformed(visitor, transforms, data.length), limits);
  } catch (error) {
    if (!(error instanceof DroverError) || error.code.startsWith('block.')) throw error;
    throw new DroverError('apply.schema', `a rule cannot be carried out: ${error.message}`, {
      hint: 'mend the rule, restart the services, then `drover ledger retry`; `drover transform preview` shows it',
      cause: error,
      ...(refusalOf(error) === undefined ? {} : { facts: error.facts }),
    });
  }
}
