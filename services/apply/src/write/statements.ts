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

/** Fails (SQLSTATE DR006) unless the statement, its first parameter, meets as many rows as its second says. */
export const MET_BY_SQL = 'SELECT drover.met_by($1, $2::bigint)';

/** Fails (SQLSTATE DR006) unless the statement, which is no WITH of its own, meets one row: what stands behind it in a flight need not wait for its answer. */
export function metSql(sql: string): string {
  const statement = sql.startsWith('SELECT') ? sql : `${sql} RETURNING 1`;
  return `WITH met AS (${statement}) SELECT drover.met(pg_catalog.count(*), 1) FROM met`;
}

/** A value as it is assigned: an assignment converts as ALTER COLUMN ... TYPE does. */
const given = (c: PlanColumn, value: string): string =>
  c.from === null ? value : through(c, `(${value}::${c.from})`);

const through = (c: PlanColumn, value: string): string =>
  c.via.reduce((text, type) => `(${text}::${type})`, value);

/** A value as it is compared with the column's. */
export const compared = (c: PlanColumn, value: string): string =>
  c.from === null ? value : `(${given(c, value)}::${c.castType})`;

const constantNames = (plan: TablePlan): string => plan.constants.map((c) => `, ${c.name}`).join('');
const constantValues = (plan: TablePlan): string => plan.constants.map((c) => `, ${c.sql}`).join('');

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
  const values = plan.columns.map((c, i) => given(c, `$${i + 1}`)).join(', ');
  return `INSERT INTO ${table(plan)} (${names}${constantNames(plan)}) OVERRIDING SYSTEM VALUE VALUES (${values}${constantValues(plan)})`;
}

/** `WHERE` by key, parameters from `$first` on. */
function byKey(plan: TablePlan, key: readonly number[], first: number): string {
  return key
    .map((index, i) => {
      const c = column(plan, index);
      return `t.${quoteIdent(c.name)} ${operator(c)} ${compared(c, `$${first + i}`)}`;
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
  set
    .map((index, i) => {
      const c = column(plan, index);
      return `${quoteIdent(c.name)} = ${given(c, `$${first + i}`)}`;
    })
    .join(', ');

/**
 * A key change of a row whose key the database generates ALWAYS, which no UPDATE may set: the row is taken out and put back with
 * its unchanged columns. Parameters as {@link updateSql}.
 */
export function replaceSql(plan: TablePlan, key: readonly number[], set: readonly number[]): string {
  const names = plan.columns.map((c) => quoteIdent(c.name)).join(', ');
  const values = plan.columns
    .map((c, index) => {
      const i = set.indexOf(index);
      return i < 0 ? `gone.${quoteIdent(c.name)}` : given(c, `$${i + 1}`);
    })
    .join(', ');
  return `WITH gone AS (DELETE FROM ${table(plan)} AS t WHERE ${byKey(plan, key, set.length + 1)} RETURNING t.*)
    INSERT INTO ${table(plan)} (${names}${constantNames(plan)}) OVERRIDING SYSTEM VALUE
    SELECT ${values}${plan.constants.map((c) => `, gone.${c.name}`).join('')} FROM gone`;
}

/**
 * Exactly one of the rows that equal the old one in every column: tables without a key under REPLICA IDENTITY FULL. Types
 * without an equality of their own are compared by their text. Of rows that are equal and yet not the same (1.0 and 1.00, 0 and -0) it is
 * the one with the same bytes (`*=`, record_image_eq); one that is merely equal will do where none has them, a NaN with other bits after a copy.
 */
function oneRow(plan: TablePlan, first: number): string {
  const names = plan.columns.map((c) => `o.${quoteIdent(c.name)}`);
  const values = plan.columns.map((c, i) => compared(c, `$${first + i}`));
  const same = plan.columns.map((c, i) =>
    c.hasEquality
      ? `${names[i]} IS NOT DISTINCT FROM ${values[i]}`
      : `${names[i]}::text IS NOT DISTINCT FROM (${values[i]})::text`,
  );
  const equal = same.length === 0 ? 'true' : same.join(' AND ');
  const image = `ROW(${names.join(', ')})::record OPERATOR(pg_catalog.*=) ROW(${values.join(', ')})::record`;
  const place = (of: string): string =>
    plan.target.partitioned ? `${of}.tableoid, ${of}.ctid` : `${of}.ctid`;
  const found = (where: string): string =>
    `(SELECT ${place('o')} FROM ${table(plan)} AS o WHERE ${where} LIMIT 1)`;
  // The second half is only looked at when the first finds nothing.
  return `(${place('t')}) = (SELECT ${place('r')} FROM (${found(`${equal} AND ${image}`)} UNION ALL ${found(equal)}) AS r LIMIT 1)`;
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
  const columns = plan.columns
    .map((c, i) => `, c${i} ${c.textOnly ? 'text' : (c.from ?? c.stageType)}`)
    .join('');
  return `CREATE TEMP TABLE drover_stage_${plan.id} (g int4${columns}) ON COMMIT DELETE ROWS`;
}

export function copyStageSql(plan: TablePlan): string {
  return `COPY ${stage(plan)} FROM STDIN (FORMAT binary)`;
}

export function copySql(plan: TablePlan): string {
  const names = plan.columns.map((c) => quoteIdent(c.name)).join(', ');
  return `COPY ${table(plan)} (${names}) FROM STDIN (FORMAT binary)`;
}

const staged = (plan: TablePlan, index: number): string => {
  const c = column(plan, index);
  return through(c, c.textOnly ? `s.c${index}::${c.from ?? c.castType}` : `s.c${index}`);
};

function joinKey(plan: TablePlan): string {
  return (plan.key ?? [])
    .map((index) => {
      const c = column(plan, index);
      const value = staged(plan, index);
      return `t.${quoteIdent(c.name)} ${operator(c)} ${c.from === null ? value : `(${value})::${c.castType}`}`;
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
  return `INSERT INTO ${table(plan)} (${names}${constantNames(plan)}) OVERRIDING SYSTEM VALUE
    SELECT ${values}${constantValues(plan)} FROM ${stage(plan)} AS s WHERE s.g = ${group}`;
}
