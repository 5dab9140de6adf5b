/**
 * From rules and a relation to what is done with its tuples: decided once per Relation message, not per row. What would make a replica's rows
 * impossible to find, or show what a rule was to hide, is refused: then nothing of the table may be passed on.
 */
import type { Relation } from '@drover/block';
import { refused } from '../errors.ts';
import { compileFilter, type Test } from '../expression/compile.ts';
import { describeFault } from '../expression/fault.ts';
import { parseExpression } from '../expression/parse.ts';
import { ExpressionFault } from '../expression/types.ts';
import { namesExactly, ruleHoldsTable } from '../rules/select.ts';
import type { Rule } from '../rules/types.ts';
import type { Form } from '../values/codec.ts';
import { typeOf, type ValueType } from '../values/types.ts';
import { ColumnChain } from './column-chain.ts';
import { TuplePlan } from './tuple-plan.ts';

export interface CompileContext {
  readonly secret: string;
  /** By which rows find their tenant: it can neither be masked nor renamed. */
  readonly tenantColumn?: string | undefined;
  /** Columns by which a replica finds rows, where the relation does not say so (replica identity FULL). */
  readonly primaryKey?: readonly string[] | null | undefined;
  /** Domains and their like to the built-in type below. */
  readonly baseType?: ((typeOid: number) => number) | undefined;
  /** In which form constants are written where a tuple has no other values. */
  readonly form?: Form;
}

/** `rules`: those that hold for the tenant, in order. Null: the table's rows pass as they are. @throws DroverError `config.invalid` */
export function compileTransform(
  rules: readonly Rule[],
  relation: Relation,
  context: CompileContext,
): TuplePlan | null {
  const own = rules.filter((rule) => ruleHoldsTable(rule, relation.schema, relation.name));
  if (own.length === 0) return null;
  const table = `table ${relation.schema}.${relation.name}`;
  const types = relation.columns.map((c) => typeOf(context.baseType?.(c.typeOid) ?? c.typeOid));
  const chains = chainsOf(own, relation, types, table, context.secret);
  checkKeys(chains, relation, table, context);
  const filters = own.flatMap((rule) => filterOf(rule, relation, types, table) ?? []);
  const touched = chains.some(
    (c) => !c.untouched || c.dropped || c.outName !== c.name || c.outTypeOid !== c.typeOid,
  );
  if (!touched && filters.length === 0) return null;
  return new TuplePlan({ relation, chains, filters, touched, form: context.form ?? 'binary' });
}

function chainsOf(
  rules: readonly Rule[],
  relation: Relation,
  types: readonly (ValueType | undefined)[],
  table: string,
  secret: string,
): ColumnChain[] {
  const chains = relation.columns.map(
    ({ name, typeOid, typmod }, i) =>
      new ColumnChain({ name, typeOid, typmod, type: types[i], table, secret }),
  );
  for (const rule of rules) {
    for (const action of rule.actions) {
      const chain = chains.find((c) => !c.dropped && c.outName === action.column);
      if (chain === undefined) {
        // A pattern may meet tables without the column. Where the table is named, a column renamed at the source would go out unmasked.
        if (!namesExactly(rule, relation.schema, relation.name)) continue;
        throw refused(
          'missing_column',
          action.at,
          `${table} has no column "${action.column}"`,
          action.column,
        );
      }
      chain.add(action);
      const taken = chains.some((c) => c !== chain && !c.dropped && c.outName === chain.outName);
      if (action.kind === 'rename' && taken)
        throw refused('name_taken', action.at, `${table} has a column "${action.to}" already`, action.column);
    }
  }
  if (chains.every((c) => c.dropped))
    throw refused('no_columns', rules[0]?.at ?? '', `${table} would lose all its columns`);
  return chains;
}

function checkKeys(
  chains: readonly ColumnChain[],
  relation: Relation,
  table: string,
  context: CompileContext,
): void {
  for (const [i, chain] of chains.entries()) {
    const touched = !chain.untouched || chain.dropped || chain.outName !== chain.name;
    if (chain.name === context.tenantColumn && touched)
      throw refused(
        'tenant_column',
        chain.changedAt,
        `${table}: column "${chain.name}" says whose a row is and must stay as it is`,
        chain.name,
      );
    // Under FULL every column counts as key; what counts is by which the replica finds rows.
    const key =
      relation.identity === 'f'
        ? context.primaryKey?.includes(chain.name) === true
        : relation.columns[i]?.key === true;
    if (key && !chain.injective)
      throw refused(
        'key',
        chain.lossyAt,
        `${table}: rows are found by column "${chain.name}", so different values must stay different: hash of at least 32 digits or format-keeping`,
        chain.name,
      );
  }
}

function filterOf(
  rule: Rule,
  relation: Relation,
  types: readonly (ValueType | undefined)[],
  table: string,
): Test[] | undefined {
  const { where, at } = rule;
  if (where === undefined) return undefined;
  const parsed = parseExpression(where);
  const wrong = (fault: ExpressionFault['fault']) =>
    refused('filter', `${at}.where`, `${table}: ${describeFault(where, fault)}`);
  if (!parsed.ok) throw wrong(parsed.fault);
  const columns = relation.columns.map((c, i) => ({
    name: c.name,
    type: types[i],
    typeName: String(c.typeOid),
  }));
  try {
    const { test, reads } = compileFilter(parsed.expr, columns);
    for (const index of reads) {
      const column = relation.columns[index];
      if (column === undefined || column.key || relation.identity === 'f' || relation.identity === 'n')
        continue;
      throw refused(
        'filter_identity',
        `${at}.where`,
        `${table}: the old row of an update or delete lacks column "${column.name}"; it must be part of the replica identity`,
        column.name,
      );
    }
    return [test];
  } catch (error) {
    throw error instanceof ExpressionFault ? wrong(error.fault) : error;
  }
}
