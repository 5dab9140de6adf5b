import { describe, expect, it } from 'vitest';
import type { DecodedBlock } from '../changes/decoded-block.ts';
import type { TablePlan } from '../target/table-plan.ts';
import { type Slice, segments } from './slice.ts';

const plan = (id: number, name: string): TablePlan =>
  ({ id, target: { schema: 'public', name } }) as unknown as TablePlan;
const slice = (relation: number[], plans: (TablePlan | null)[], truncateAt: number[] = []): Slice => ({
  block: {
    relation: Uint16Array.from(relation),
    truncates: new Map(truncateAt.map((at) => [at, { relations: [0], flags: 0 }])),
  } as unknown as DecodedBlock,
  plans,
  tenant: 0,
  lenient: false,
  from: 0,
  to: relation.length,
});
/** Per segment, per slice, its rows by the plans they are written by. */
const shape = (slices: Slice[]): unknown[] =>
  segments(slices).map((segment) =>
    segment.kind === 'truncate'
      ? 'truncate'
      : segment.slices.map(({ block, plans, from, to }) =>
          [...block.relation.subarray(from, to)].map((index) => plans[index]?.id ?? null),
        ),
  );

describe('segments', () => {
  const [orders, items] = [plan(1, 'orders'), plan(2, 'items')];

  it('keeps together what is written by one plan a table', () => {
    const one = slice([0, 1, 0], [orders, items]);
    expect(shape([one, slice([0, 0], [orders])])).toEqual([
      [
        [1, 2, 1],
        [1, 1],
      ],
    ]);
  });

  it('begins anew where a table has another plan than the block before', () => {
    expect(shape([slice([0], [orders]), slice([0], [plan(3, 'orders')])])).toEqual([[[1]], [[3]]]);
  });

  it('and where it has another one within a block: nothing behind a schema change comes before it', () => {
    const altered = plan(3, 'orders');
    expect(shape([slice([0, 1, 0, 2, 1, 2], [orders, items, altered])])).toEqual([[[1, 2, 1]], [[3, 2, 3]]]);
    expect(shape([slice([2, 0, 2], [orders, items, altered])])).toEqual([[[3]], [[1]], [[3]]]);
    expect(shape([slice([0, 1, 2], [orders, null, altered]), slice([0], [altered])])).toEqual([
      [[1, null]],
      [[3], [3]],
    ]);
  });

  it('stands still at a truncate', () => {
    expect(shape([slice([0, 0, 0], [orders], [1])])).toEqual([[[1]], 'truncate', [[1]]]);
  });
});
