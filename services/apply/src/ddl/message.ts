/** `drover.ddl` as a source's event triggers write it (packages/pg/src/schema/ddl-capture.sql.ts), parsed. Pure. */
import type { Lsn } from '@drover/core';
import type { Entry } from '../changes/entry.ts';

export interface SequenceShape {
  readonly schema: string;
  readonly name: string;
  readonly type: string;
  readonly start: string;
  readonly increment: string;
  readonly min: string;
  readonly max: string;
  readonly cache: string;
  readonly cycle: boolean;
  /** Number of the column that owns it. */
  readonly column?: number | null;
}

export interface ColumnShape {
  /** attnum: what a column is, whatever its name. */
  readonly n: number;
  readonly name: string;
  readonly type: string;
  readonly typeOid: number;
  readonly collation: string | null;
  readonly notNull: boolean;
  readonly generated: '' | 's' | 'v';
  readonly identity: '' | 'a' | 'd';
  readonly default: string | null;
  readonly expression: string | null;
  readonly sequence: SequenceShape | null;
}

export interface ConstraintShape {
  readonly oid: number;
  readonly name: string;
  readonly type: 'p' | 'u' | 'c' | 'f' | 'x';
  readonly def: string;
  readonly columns: readonly number[] | null;
}

export interface IndexShape {
  readonly oid: number;
  readonly name: string;
  readonly def: string;
}

export interface TableShape {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly kind: 'r' | 'p';
  readonly owner: string;
  readonly schemaOwner: string;
  readonly parent: { readonly oid: number; readonly schema: string; readonly name: string } | null;
  readonly bound: string | null;
  readonly partkey: string | null;
  readonly inherits: boolean;
  readonly identity: 'd' | 'n' | 'f' | 'i';
  readonly identityIndex: string | null;
  readonly columns: readonly ColumnShape[];
  readonly constraints: readonly ConstraintShape[];
  readonly indexes: readonly IndexShape[];
  readonly sequences: readonly SequenceShape[];
}

export interface TypeShape {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly kind: 'e' | 'd' | 'c';
  readonly owner: string;
  readonly schemaOwner: string;
  readonly labels?: readonly { readonly oid: number; readonly label: string }[];
  readonly base?: string;
  readonly notNull?: boolean;
  readonly default?: string | null;
  readonly collation?: string | null;
  readonly constraints?: readonly { readonly oid: number; readonly name: string; readonly def: string }[];
  readonly attributes?: readonly {
    readonly n: number;
    readonly name: string;
    readonly type: string;
    readonly collation: string | null;
  }[];
}

/** default, rows: values that only the source knows. using, cast: a conversion nobody can repeat. class: it is captured no more. */
export type Unknown = 'default' | 'rows' | 'using' | 'cast' | 'class';

export interface TableChange {
  readonly oid: number;
  readonly class: { readonly kind: 'column' | 'schema' | 'reference'; readonly tenant?: string };
  readonly before: TableShape | null;
  readonly after: TableShape | null;
  /** By column number: the value, as text, of rows from before the column. */
  readonly missing: Readonly<Record<string, string | null>>;
  readonly unknown: readonly Unknown[];
}

export interface TypeChange {
  readonly oid: number;
  readonly before: TypeShape | null;
  readonly after: TypeShape | null;
}

export interface DdlMessage {
  readonly tag: string;
  readonly command: string;
  /** Nothing has changed: this is what there is. */
  readonly baseline: boolean;
  readonly tables: readonly TableChange[];
  readonly types: readonly TypeChange[];
}

export interface DdlEntry {
  /** Commit of the transaction. */
  readonly lsn: Lsn;
  /** Its changes, each with the place where it was told; in order. */
  readonly changes: readonly { readonly at: Lsn; readonly message: DdlMessage }[];
  /** All rows of the transaction stand before this entry. */
  readonly end: boolean;
  /** Other messages stand in it as well. */
  readonly others: boolean;
}

/** What stands in an entry of the lane's own token, or null: a heartbeat. */
export function ddlOf(entry: Entry): DdlEntry | null {
  if (entry.kind !== 'heartbeat') return null;
  const changes: { at: Lsn; message: DdlMessage }[] = [];
  let last: Lsn | null = null;
  let end = false;
  let others = false;
  for (const tx of entry.block?.transactions ?? []) {
    for (const { prefix, lsn, content } of tx.messages) {
      if (prefix === 'drover.ddl') changes.push({ at: lsn, message: parse(content) });
      else if (prefix === 'drover.ddl.end') end = true;
      else others = true;
      if (prefix.startsWith('drover.ddl')) last = tx.lsn;
    }
  }
  return last === null ? null : { lsn: last, changes, end, others };
}

/** Only superusers and Drover write such messages, and capture has parsed it once. @throws SyntaxError */
function parse(content: string): DdlMessage {
  const body = JSON.parse(content) as Partial<DdlMessage>;
  return {
    tag: body.tag ?? '',
    command: body.command ?? '',
    baseline: body.baseline ?? false,
    tables: body.tables ?? [],
    types: body.types ?? [],
  };
}
