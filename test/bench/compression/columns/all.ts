/**
 * Columns of one type each. Where a figure is to be reached, the generator is set so that zstd-3 alone does about as well on it as it did on the
 * data the figure was first measured on: the peer's ratio beside each case says how alike they are.
 */
import { floatColumns } from './floats.ts';
import { numberColumns } from './numbers.ts';
import type { ColumnSpec } from './spec.ts';
import { textColumns } from './texts.ts';
import { timeColumns } from './times.ts';

export const COLUMNS: readonly ColumnSpec[] = [
  ...numberColumns,
  ...textColumns,
  ...floatColumns,
  ...timeColumns,
];
