/**
 * What is to be written: stretches of blocks in order, cut into segments within which a table's changes may be folded. A
 * segment ends at a truncate, where a table's shape changes, and where a tenant leaves its lenient window.
 */
import type { DecodedBlock, Truncate } from '../changes/decoded-block.ts';
import type { TablePlan } from '../target/table-plan.ts';

/** Changes `from` to `to - 1` of a block, all of one tenant. */
export interface Slice {
  readonly block: DecodedBlock;
  /** By relation index of the block. */
  readonly plans: readonly (TablePlan | null)[];
  /** Number of the tenant within the batch. */
  readonly tenant: number;
  readonly lenient: boolean;
  readonly from: number;
  readonly to: number;
}

export type Segment =
  | { readonly kind: 'rows'; readonly slices: readonly Slice[] }
  | { readonly kind: 'truncate'; readonly truncate: Truncate; readonly plans: readonly (TablePlan | null)[] };

export function segments(slices: readonly Slice[]): Segment[] {
  const out: Segment[] = [];
  let open: Slice[] = [];
  let plans = new Map<string, number>();
  let lenient = new Map<number, boolean>();
  const close = (): void => {
    if (open.length > 0) out.push({ kind: 'rows', slices: open });
    open = [];
    plans = new Map();
    lenient = new Map();
  };
  const push = (slice: Slice): void => {
    if (slice.from >= slice.to) return;
    const changed = slice.plans.some((plan) => {
      if (plan === null) return false;
      const known = plans.get(tableKey(plan));
      return known !== undefined && known !== plan.id;
    });
    if (changed || (lenient.get(slice.tenant) ?? slice.lenient) !== slice.lenient) close();
    for (const plan of slice.plans) if (plan !== null) plans.set(tableKey(plan), plan.id);
    lenient.set(slice.tenant, slice.lenient);
    open.push(slice);
  };
  const pushAll = (slice: Slice): void => {
    for (const part of byPlan(slice)) push(part);
  };
  for (const slice of slices) {
    let from = slice.from;
    for (const [at, truncate] of slice.block.truncates) {
      if (at < slice.from || at >= slice.to) continue;
      pushAll({ ...slice, from, to: at });
      close();
      out.push({ kind: 'truncate', truncate, plans: slice.plans });
      from = at + 1;
    }
    pushAll({ ...slice, from });
  }
  close();
  return out;
}

/** A table that was altered within the stretch has a plan for what stands before and one for what stands behind: parts with one plan a table. */
function byPlan(slice: Slice): Slice[] {
  const { block, plans } = slice;
  const known = plans.flatMap((plan) => (plan === null ? [] : [tableKey(plan)]));
  if (new Set(known).size === new Set(plans.filter((plan) => plan !== null)).size) return [slice];
  const parts: Slice[] = [];
  let from = slice.from;
  let used = new Map<string, TablePlan>();
  const cut = (to: number): void => {
    const mine = new Set(used.values());
    parts.push({
      ...slice,
      from,
      to,
      plans: plans.map((plan) => (plan !== null && mine.has(plan) ? plan : null)),
    });
    from = to;
    used = new Map();
  };
  for (let i = slice.from; i < slice.to; i++) {
    const plan = plans[block.relation[i] as number];
    if (plan == null) continue;
    const other = used.get(tableKey(plan));
    if (other !== undefined && other !== plan) cut(i);
    used.set(tableKey(plan), plan);
  }
  cut(slice.to);
  return parts;
}

const tableKey = (plan: TablePlan): string => `${plan.target.schema}\u0000${plan.target.name}`;
