/** Tables whose rows a target holds otherwise than the source, by the rules of [[transform]]: the same plans as those of the stream. */
import type { Placement } from '@drover/catalog';
import { type ClusterId, SHARED, type TenantId } from '@drover/core';
import {
  type classifyTable,
  type Finding,
  finding,
  type Queryable,
  readTables,
  type TableInfo,
} from '@drover/pg';
import {
  checkTarget,
  plansOf,
  type Rule,
  readBaseTypes,
  relationOf,
  rulesFor,
  type TuplePlan,
} from '@drover/transform';
import type { TenantTable } from './scope.ts';

export interface ConfiguredRules {
  readonly rules: readonly Rule[];
  readonly secret: string;
}

/** Rules that hold for one tenant at one target. */
export interface TenantRules extends ConfiguredRules {
  readonly tenant: TenantId;
  readonly tier: string;
  readonly target: ClusterId;
}

export interface RuledTable {
  /** One after the other. */
  readonly plans: readonly TuplePlan[];
  /** Of the rows that come out, in order. */
  readonly columns: readonly string[];
  /** Rows have other keys there. */
  readonly keyTouched: boolean;
}

/** Null: the target holds the tenant's rows as they are. */
export function rulesOfTenant(
  configured: ConfiguredRules | undefined,
  placement: Pick<Placement, 'tenant' | 'tier'>,
  target: ClusterId,
): TenantRules | null {
  if (configured === undefined) return null;
  const { tenant } = placement;
  const tier = tenant === SHARED ? '' : placement.tier;
  const rules = [
    ...rulesFor(configured.rules, { stage: 'publish', tenant, tier }),
    ...rulesFor(configured.rules, { stage: 'apply', tenant, tier, target }),
  ];
  return rules.length === 0 ? null : { ...configured, tenant, tier, target };
}

type Class = ReturnType<typeof classifyTable>;

/** `client`: of the source. The function throws DroverError `config.invalid` for a table that a rule does not fit. */
export async function ruledTables(
  client: Queryable,
  rules: TenantRules,
): Promise<(table: TableInfo, found: Class) => RuledTable | null> {
  const baseType = await readBaseTypes(client);
  return (table, found) => {
    const plans = plansOf(relationOf(table), {
      ...rules,
      tenantColumn: found.kind === 'column' ? found.column : undefined,
      primaryKey: table.primaryKey,
      baseType,
    });
    const last = plans.at(-1);
    if (last === undefined) return null;
    const keys = new Set([...(table.primaryKey ?? []), ...table.identityColumns]);
    return {
      plans,
      columns: last.relation.columns.map((column) => column.name),
      keyTouched: plans.some((plan, i) => i > 0 || touches(plan, keys)),
    };
  };
}

/** What comes out of a first plan may have other names: a second one counts as touching the key. */
function touches(plan: TuplePlan, keys: ReadonlySet<string>): boolean {
  return plan.chains.some(
    (chain) => keys.has(chain.name) && (!chain.untouched || chain.outName !== chain.name),
  );
}

/** Whether the target's tables take the rows that come out. */
export async function ruledFindings(
  target: Queryable,
  to: ClusterId,
  tables: readonly TenantTable[],
): Promise<Finding[]> {
  const ruled = tables.filter((table) => table.ruled !== undefined);
  if (ruled.length === 0) return [];
  const there = await readTables(target);
  return ruled.flatMap((table) => {
    const object = `table ${table.schema}.${table.name}`;
    const found = there.find((t) => t.schema === table.schema && t.name === table.name);
    if (found === undefined) return [finding('error', 'table_missing', object, `${to} lacks it`)];
    return checkTarget({ object, cluster: to, target: found, plans: table.ruled?.plans ?? [] });
  });
}
