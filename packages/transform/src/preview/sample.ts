/** Rows of a table as pgoutput would send them, read with a query: cells in text form, in the order of the relation. */
import type { Relation } from '@drover/block';
import { quoteIdent, quoteTable } from '@drover/pg';

export interface SampleQuery {
  readonly relation: Relation;
  /** SQL; null: all rows. */
  readonly condition: string | null;
  readonly rows: number;
  /** By which rows are sorted, so that a preview shows the same again. */
  readonly orderBy: readonly string[];
}

/** The query; each row is one array of texts and NULLs. */
export function sampleSql({ relation, condition, rows, orderBy }: SampleQuery): string {
  // What the type's output function prints, as pgoutput sends it: a cast to text would cut char(n) and spell out booleans.
  const columns = relation.columns
    .map(({ name }) => quoteIdent(name))
    .map((name) => `CASE num_nulls(${name}) WHEN 0 THEN concat(${name}) END`)
    .join(', ');
  const where = condition === null ? '' : ` WHERE ${condition}`;
  const order = orderBy.length === 0 ? '' : ` ORDER BY ${orderBy.map(quoteIdent).join(', ')}`;
  return `SELECT ARRAY[${columns}] AS cells FROM ${quoteTable(relation.schema, relation.name)}${where}${order} LIMIT ${rows}`;
}
