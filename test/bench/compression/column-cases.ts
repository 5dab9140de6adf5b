/** Columns by themselves: what each type comes to. */
import { type Figure, gateOf, RATIO, rowsText } from './cases.ts';
import { measureColumn } from './column.ts';
import { COLUMNS } from './columns/all.ts';
import type { ColumnSpec } from './columns/spec.ts';
import { Random } from './random.ts';

export const ROWS = [100, 1000, 10_000] as const;
const PEER = 'zstd-3 of the binary column';

/** Of all columns; `say` hears of each. */
export function columnFigures(signal: AbortSignal): Figure[] {
  return COLUMNS.flatMap((spec) => ROWS.flatMap((rows) => ofColumn(spec, rows, signal)));
}

function ofColumn(spec: ColumnSpec, rows: number, signal: AbortSignal): Figure[] {
  signal.throwIfAborted();
  const sizes = measureColumn(spec, new Random(spec.seed), rows);
  const name = `${spec.name}, seed ${spec.seed}, ${rowsText(rows)}`;
  const base = { case: name, unit: 'x', peerName: PEER };
  const figures: Figure[] = [
    {
      ...base,
      metric: RATIO,
      drover: sizes.binary / sizes.stored,
      peer: sizes.binary / sizes.generic,
      gate: gateOf(spec.gates?.[rows]),
    },
    {
      ...base,
      metric: 'text/stored',
      drover: sizes.text / sizes.stored,
      peer: sizes.text / sizes.generic,
      gate: gateOf(spec.textGates?.[rows]),
    },
  ];
  return figures;
}
