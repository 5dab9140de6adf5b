/** Whether a target's table takes the rows as the rules make them: columns there, types equal, NOT NULL and unique kept. */
import { type ColumnInfo, type Finding, finding, quoteIdent, quoteTable, type TableInfo } from '@drover/pg';
import { describeOutputs, type OutputColumn } from '../plan/outputs.ts';
import type { TuplePlan } from '../plan/tuple-plan.ts';

export interface TargetCheck {
  readonly object: string;
  readonly cluster: string;
  readonly target: TableInfo | undefined;
  /** Of publish and apply; null: nothing is done there. */
  readonly plans: readonly (TuplePlan | null)[];
}

/** First OID of objects made by users: below, they mean the same on every server. */
const FIRST_USER_OID = 16_384;
const TEXT_LIKE: ReadonlySet<number> = new Set([25, 1043]);

export function checkTarget({ object, cluster, target, plans }: TargetCheck): Finding[] {
  const add = (code: string, message: string, sql: string[] = []) =>
    finding('error', code, object, `${cluster}: ${message}`, sql);
  if (target === undefined) return []; // doctor says so
  const name = quoteTable(target.schema, target.name);
  const outputs = describeOutputs(plans);
  const findings: Finding[] = [];
  for (const column of outputs) {
    const found = target.columns.find((c) => c.name === column.name);
    if (found === undefined) findings.push(add('transform_target_column', `lacks column "${column.name}"`));
    else if (found.generated === '')
      findings.push(...judge(column, found).map(([code, text, sql]) => add(code, text, sql(name))));
  }
  for (const column of target.columns) {
    if (outputs.some((o) => o.name === column.name)) continue;
    const needed = column.notNull && !column.hasDefault && column.identity === '' && column.generated === '';
    if (needed)
      findings.push(
        add(
          'transform_not_null',
          `column "${column.name}" gets no value, but is NOT NULL without a default`,
          [`ALTER TABLE ${name} ALTER COLUMN ${quoteIdent(column.name)} DROP NOT NULL`],
        ),
      );
  }
  for (const index of target.uniqueIndexes) {
    const lossy = outputs.filter((o) => index.columns.includes(o.name) && !o.injective && o.fixed !== 'null');
    if (lossy.length > 0 && index.valid)
      findings.push(
        add(
          'transform_unique',
          `unique index "${index.name}" would meet equal values of "${lossy.map((o) => o.name).join('", "')}": mask it with hash or format-keeping, or drop the index there`,
          index.primary ? [] : [`DROP INDEX ${quoteIdent(target.schema)}.${quoteIdent(index.name)}`],
        ),
      );
  }
  return findings;
}

type Judged = readonly [code: string, text: string, sql: (table: string) => string[]];

function judge(column: OutputColumn, found: ColumnInfo): Judged[] {
  const out: Judged[] = [];
  if (column.fixed === 'null' && found.notNull)
    out.push([
      'transform_not_null',
      `column "${column.name}" becomes NULL, but is NOT NULL`,
      (table) => [`ALTER TABLE ${table} ALTER COLUMN ${quoteIdent(column.name)} DROP NOT NULL`],
    ]);
  const [a, b] = [column.typeOid, found.typeOid];
  const fits =
    a === b || a >= FIRST_USER_OID || b >= FIRST_USER_OID || (TEXT_LIKE.has(a) && TEXT_LIKE.has(b));
  if (!fits)
    out.push([
      'transform_target_type',
      `column "${column.name}" becomes ${column.typeName}, but is ${found.typeName}`,
      (table) => [`ALTER TABLE ${table} ALTER COLUMN ${quoteIdent(column.name)} TYPE ${column.typeName}`],
    ]);
  return out;
}
