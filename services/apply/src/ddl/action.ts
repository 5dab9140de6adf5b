/** Statements of a schema change, by what they are about. Pure. */
import { quoteIdent, quoteTable } from '@drover/pg';

/**
 * `sql` names its table `\u0001T` and its column `\u0001C`: they are filled in when it runs, from the OIDs, because the names may have
 * been changed by then.
 */
export interface Action {
  /** What it is about, in the source's numbers: a later change of the same thing takes its place. */
  readonly key: string;
  readonly sql: string;
  /** The replica's table or type. */
  readonly oid: number | null;
  /** The replica's column. */
  readonly column: number | null;
  /** Whose object it is: it runs as this role. */
  readonly owner: string;
  /** The name of a column that the first half makes: `column` is filled in then. */
  readonly added?: string;
  /** The type it gives to its column. */
  readonly type?: string;
  /** The statement is made when it runs, from what the source says of the thing by then: what it names may have been renamed. */
  readonly latest?: 'constraint' | 'validate' | 'index';
}

export interface Steps {
  /** Before the rows of the transaction: what admits more. */
  readonly expand: readonly Action[];
  /** When all pipelines are past it: what takes away or restricts. */
  readonly contract: readonly Action[];
  /** Keys of everything that the change is about. */
  readonly touches: readonly string[];
}

export const fill = (
  action: Action,
  names: { readonly schema: string; readonly name: string; readonly column: string | null } | null,
): string =>
  names === null
    ? action.sql
    : action.sql
        .replaceAll('\u0001T', () => quoteTable(names.schema, names.name))
        .replaceAll('\u0001C', () => quoteIdent(names.column ?? '?'));
