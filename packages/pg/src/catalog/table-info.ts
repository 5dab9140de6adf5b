/** What the catalog says about a table, as far as replication and isolation care. */
export interface ColumnInfo {
  readonly name: string;
  readonly typeOid: number;
  /** As `format_type` prints it with its modifier: `numeric(10,2)`, `character varying(20)[]`. */
  readonly typeName: string;
  readonly typmod: number;
  readonly notNull: boolean;
  /** s: stored generated, v: virtual generated (18+), '': not generated. */
  readonly generated: 's' | 'v' | '';
  /** a: always, d: by default, '': no identity column. */
  readonly identity: 'a' | 'd' | '';
  readonly hasDefault: boolean;
}

export interface UniqueIndexInfo {
  readonly name: string;
  /** Key columns in order; an expression is null. */
  readonly columns: readonly (string | null)[];
  readonly primary: boolean;
  /** It covers only some rows (WHERE). */
  readonly partial: boolean;
  /** False: deferrable. */
  readonly immediate: boolean;
  /** The index is valid: false after a failed CREATE INDEX CONCURRENTLY. */
  readonly valid: boolean;
  readonly nullsNotDistinct: boolean;
}

export interface TriggerInfo {
  readonly name: string;
  /** O: fires for applications only, A: always, R: only for replicated changes, D: disabled. */
  readonly enabled: 'O' | 'A' | 'R' | 'D';
}

export interface TableInfo {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly columns: readonly ColumnInfo[];
  /** Key columns in order. */
  readonly primaryKey: readonly string[] | null;
  /** d: default (primary key), n: nothing, f: full, i: an index. */
  readonly replicaIdentity: 'd' | 'n' | 'f' | 'i';
  /** What an old row image holds: with `f` every column, with `n` or without a key none. */
  readonly identityColumns: readonly string[];
  /** OID of the partitioned table this is a partition of (its direct parent). */
  readonly partitionOf: number | null;
  readonly isPartitioned: boolean;
  /** OIDs of parents by inheritance that is not partitioning. */
  readonly inherits: readonly number[];
  readonly persistence: 'permanent' | 'unlogged';
  readonly owner: string;
  /** Of the table with its TOAST, partitions included. */
  readonly sizeBytes: number;
  readonly uniqueIndexes: readonly UniqueIndexInfo[];
  readonly triggers: readonly TriggerInfo[];
  readonly rls: { readonly enabled: boolean; readonly forced: boolean };
}
