/** How the columns to measure are described. */
import type { Random } from '../random.ts';
import type { RowWriter } from '../row.ts';

/** Writes one value. */
export type Write = (row: RowWriter) => void;

/** Least ratios by rows a block. */
export type Gates = Readonly<Record<number, number>>;

export interface ColumnSpec {
  readonly name: string;
  /** The last is the one that is measured; it may refer to those before. */
  readonly typeOids: readonly number[];
  readonly seed: number;
  /** A writer per column, each called once for each row, in order; `time` is then the commit time of the row. */
  make(random: Random): { readonly columns: readonly Write[]; readonly time?: () => number };
  readonly gates?: Gates;
  /** The same to the text form. */
  readonly textGates?: Gates;
}

/** A column that needs no others. */
export function single(
  name: string,
  typeOid: number,
  seed: number,
  make: (random: Random) => Write,
  gates: Gates = {},
  textGates: Gates = {},
): ColumnSpec {
  return {
    name,
    typeOids: [typeOid],
    seed,
    make: (random) => ({ columns: [make(random)] }),
    gates,
    textGates,
  };
}
