/** A `[[transform]]` entry, parsed and checked by itself; whether it fits a table is for the plan and for validation. */

export type Stage = 'publish' | 'apply';

export type Mask =
  /** Keyed hash. `length`: hexadecimal digits of texts. */
  | { readonly kind: 'hash'; readonly length: number; readonly scope: string }
  | { readonly kind: 'partial'; readonly first: number; readonly last: number; readonly fill: string }
  /** NULL, or a value as it stands in the file. */
  | { readonly kind: 'constant'; readonly value: string | number | bigint | boolean | null }
  | { readonly kind: 'format-keeping'; readonly scope: string }
  | { readonly kind: 'truncate'; readonly to: 'month' | 'year' }
  | { readonly kind: 'round'; readonly digits: number };

export type Action = { readonly at: string; readonly column: string } & (
  | { readonly kind: 'drop' }
  | { readonly kind: 'rename'; readonly to: string }
  | { readonly kind: 'convert'; readonly to: string }
  | { readonly kind: 'mask'; readonly mask: Mask }
);

export interface Rule {
  /** Where it stands, for messages: `transform[2]`. */
  readonly at: string;
  /** `schema.table`; in either part `*` stands for any characters. */
  readonly tables: readonly string[];
  /** Names or patterns; empty: every tenant, and reference tables. */
  readonly tenants: readonly string[];
  readonly tier: string | undefined;
  /** Only at the apply stage. */
  readonly target: string | undefined;
  readonly stage: Stage;
  /** Rows that pass; undefined: all. */
  readonly where: string | undefined;
  readonly actions: readonly Action[];
}
