/** The SQL of row and set-based writes. Pure; identifiers quoted, values only ever parameters or staged rows. */
import { quoteIdent, quoteTable } from '@drover/pg';
import type { PlanColumn, TablePlan } from '../target/table-plan.ts';

export const table = (plan: TablePlan): string => quoteTable(plan.target.schema, plan.target.name);

const stage = (plan: TablePlan): string => `pg_temp.drover_stage_${plan.id}`;

const column = (plan: TablePlan, index: number): PlanColumn => {
  const found = plan.columns[index];
  if (found === undefined) throw new RangeError(`no column ${index}`);
  return found;
};

const operator = (c: PlanColumn): string => `OPERATOR(${c.equals})`;

/** Columns an UPDATE may set: not those the target computes, nor the key, which a plain update leaves alone. */
export function settable(plan: TablePlan, mask: readonly boolean[]): number[] {
  const indexes: number[] = [];
  plan.columns.forEach((c, index) => {
    if (!mask[index] && !c.identityAlways && !(plan.key ?? []).includes(index)) indexes.push(index);
  });
  return indexes;
}

export function insertSql(plan: TablePlan): string {
  const names = plan.columns.map((c) => quoteIdent(c.name)).join(', ');
  const values = plan.columns.map((_, i) => `$${i + 1}`).join(', ');
  return `INSERT INTO ${table(plan)} (${names}) OVERRIDING SYSTEM VALUE VALUES (${values})`;
}

/** `WHERE` by key, parameters from `$first` on. */
function byKey(plan: TablePlan, key: readonly number[], first: number): string {
  return key
    .map((index, i) => {
      const c = column(plan, index);
      return `t.${quoteIdent(c.name)} ${operator(c)} $${first + i}`;
    })
    .join(' AND ');
}

export function deleteSql(plan: TablePlan, key: readonly number[]): string {
  return `DELETE FROM ${table(plan)} AS t WHERE ${byKey(plan, key, 1)}`;
}

/** Parameters: the set columns' new values, then the key. Nothing to set: the row is only looked for, and locked. */
export function updateSql(plan: TablePlan, key: readonly number[], set: readonly number[]): string {
  const where = byKey(plan, key, set.length + 1);
  if (set.length === 0) return `SELECT 1 FROM ${table(plan)} AS t WHERE ${where} FOR UPDATE`;
  return `UPDATE ${table(plan)} AS t SET ${assignments(plan, set, 1)} WHERE ${where}`;
}

const assignments = (plan: TablePlan, set: readonly number[], first: number): string =>
  set.map((index, i) => `${quoteIdent(column(plan, index).name)} = $${first + i}`).join(', ');

/**
 * A key change of a row whose key the database generates ALWAYS, which no UPDATE may set: the row is taken out and put back with
 * its unchanged columns. Parameters as {@link updateSql}.
 */
export function replaceSql(plan: TablePlan, key: readonly number[], set: readonly number[]): string {
  const names = plan.columns.map((c) => quoteIdent(c.name)).join(', ');
  const values = plan.columns
    .map((c, index) => {
      const i = set.indexOf(index);
      return i < 0 ? `gone.${quoteIdent(c.name)}` : `$${i + 1}`;
    })
    .join(', ');
  return `WITH gone AS (DELETE FROM ${table(plan)} AS t WHERE ${byKey(plan, key, set.length + 1)} RETURNING t.*)
    INSERT INTO ${table(plan)} (${names}) OVERRIDING SYSTEM VALUE SELECT ${values} FROM gone`;
}

/**
 * Exactly one of the rows that equal the old one in every column: tables without a key under REPLICA IDENTITY FULL. Types
 * without an equality of their own are compared by their text.
 */
function oneRow(plan: TablePlan, first: number): string {
  const same = plan.columns.map((c, i) => {
    const name = `o.${quoteIdent(c.name)}`;
    const value = `$${first + i}`;
    return c.hasEquality
      ? `${name} IS NOT DISTINCT FROM ${value}`
      : `${name}::text IS NOT DISTINCT FROM (${value})::text`;
  });
  const where = same.length === 0 ? 'true' : same.join(' AND ');
  const t = table(plan);
  return plan.target.partitioned
    ? `(t.tableoid, t.ctid) = (SELECT o.tableoid, o.ctid FROM ${t} AS o WHERE ${where} LIMIT 1)`
    : `t.ctid = (SELECT o.ctid FROM ${t} AS o WHERE ${where} LIMIT 1)`;
}

/** Parameters: the old row. */
export function deleteOneSql(plan: TablePlan): string {
  return `DELETE FROM ${table(plan)} AS t WHERE ${oneRow(plan, 1)}`;
}

/** Parameters: the set columns' new values, then the old row. */
export function updateOneSql(plan: TablePlan, set: readonly number[]): string {
  const where = oneRow(plan, set.length + 1);
  if (set.length === 0) return `SELECT 1 FROM ${table(plan)} AS t WHERE ${where} FOR UPDATE`;
  return `UPDATE ${table(plan)} AS t SET ${assignments(plan, set, 1)} WHERE ${where}`;
}

/** Rows of the staging table belong to a group `g`; a commit empties it. */
export function createStageSql(plan: TablePlan): string {
  const columns = plan.columns.map((c, i) => `, c${i} ${c.textOnly ? 'text' : c.stageType}`).join('');
  return `CREATE TEMP TABLE drover_stage_${plan.id} (g int4${columns}) ON COMMIT DELETE ROWS`;
}

export function copyStageSql(plan: TablePlan): string {
  return `COPY ${stage(plan)} FROM STDIN (FORMAT binary)`;
}

export function copySql(plan: TablePlan): string {
  const names = plan.columns.map((c) => quoteIdent(c.name)).join(', ');
  return `COPY ${table(plan)} (${names}) FROM STDIN (FORMAT binary)`;
}

const staged = (plan: TablePlan, index: number): string =>
  column(plan, index).textOnly ? `s.c${index}::${column(plan, index).castType}` : `s.c${index}`;

function joinKey(plan: TablePlan): string {
  return (plan.key ?? [])
    .map((index) => {
      const c = column(plan, index);
      return `t.${quoteIdent(c.name)} ${operator(c)} ${staged(plan, index)}`;
    })
    .join(' AND ');
}

export function stagedDeleteSql(plan: TablePlan, group: number): string {
  return `DELETE FROM ${table(plan)} AS t USING ${stage(plan)} AS s WHERE s.g = ${group} AND ${joinKey(plan)}`;
}

export function stagedUpdateSql(plan: TablePlan, group: number, set: readonly number[]): string {
  const where = `s.g = ${group} AND ${joinKey(plan)}`;
  if (set.length === 0) return `SELECT 1 FROM ${table(plan)} AS t, ${stage(plan)} AS s WHERE ${where}`;
  const assign = set
    .map((index) => `${quoteIdent(column(plan, index).name)} = ${staged(plan, index)}`)
    .join(', ');
  return `UPDATE ${table(plan)} AS t SET ${assign} FROM ${stage(plan)} AS s WHERE ${where}`;
}

export function stagedInsertSql(plan: TablePlan, group: number): string {
  const names = plan.columns.map((c) => quoteIdent(c.name)).join(', ');
  const values = plan.columns.map((_, index) => staged(plan, index)).join(', ');
  return `INSERT INTO ${table(plan)} (${names}) OVERRIDING SYSTEM VALUE
    SELECT ${values} FROM ${stage(plan)} AS s WHERE s.g = ${group}`;
}
