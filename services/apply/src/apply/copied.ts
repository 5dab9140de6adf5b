/**
 * What a copy of the tenant has brought. Within the lenient window a change is applied exactly when the snapshot that was copied did not see its transaction
 * (I2), where all of the table was copied by one snapshot. Rows without a key cannot be told apart by what they are, and leniency would take a row that came
 * twice for one; in tables with a key, what a row was once may hold a unique value that another has by now. A table with a key that was copied by several
 * snapshots, because the copy was taken up again, is left to leniency.
 */
import { type Lsn, parseLsn } from '@drover/core';
import type { Transaction } from '../changes/decoded-block.ts';
import type { Session } from '../target/session.ts';
import type { TablePlan } from '../target/table-plan.ts';
import type { Slice } from '../write/slice.ts';

/** As pg_snapshot prints it: `xmin:xmax:xip,xip` (manual, 9.27.9). */
export interface Snapshot {
  readonly xmin: bigint;
  readonly xmax: bigint;
  readonly running: ReadonlySet<bigint>;
}

/** Null: it is none. */
export function parseSnapshot(text: string): Snapshot | null {
  const found = /^(\d+):(\d+):((?:\d+(?:,\d+)*)?)$/.exec(text);
  if (found === null) return null;
  const [, xmin = '0', xmax = '0', running = ''] = found;
  return {
    xmin: BigInt(xmin),
    xmax: BigInt(xmax),
    running: new Set(running === '' ? [] : running.split(',').map(BigInt)),
  };
}

const HALF = 0x8000_0000n;

/** Whether the snapshot sees a transaction that has committed, by the lower 32 bits of its number: it is near the snapshot. */
export function sees({ xmin, xmax, running }: Snapshot, xid: number): boolean {
  const apart = BigInt.asIntN(32, BigInt(xid) - xmax);
  const whole = xmax + (apart === -HALF ? HALF : apart);
  if (whole >= xmax) return false;
  return whole < xmin || !running.has(whole);
}

export interface Copied {
  /** By the table's OID at the source: its name may be another by now. */
  readonly snapshots: ReadonlyMap<number, Snapshot>;
  /** Everything up to it was applied before the pass of the copy under way began; null: nothing was. */
  readonly applied: Lsn | null;
}

/** From drover.copy, as migration writes it. */
export async function readCopied(session: Session, tenant: string): Promise<Copied> {
  const rows = await session.rows(
    `SELECT t.value ->> 'oid', t.value ->> 'snapshot', c.snapshot ->> 'applied' FROM drover.copy c
     LEFT JOIN LATERAL pg_catalog.jsonb_each(c.progress - 'missed') t ON t.value ? 'snapshot' WHERE c.tenant = $1`,
    [tenant],
  );
  const snapshots = new Map<number, Snapshot>();
  for (const [oid = null, text = null] of rows) {
    const snapshot = parseSnapshot(text ?? '');
    if (oid !== null && snapshot !== null) snapshots.set(Number(oid), snapshot);
  }
  const applied = rows[0]?.[2] ?? null;
  return { snapshots, applied: applied === null ? null : parseLsn(applied) };
}

/** Does the slice need {@link withoutCopied}? */
export const mayBeCopied = ({ lenient, plans }: Slice): boolean =>
  lenient && plans.some((plan) => plan !== null);

/** The slice, cut by transactions: of those that a table's copy holds, its rows are passed over. Pure. */
export function withoutCopied(slice: Slice, copied: Copied): Slice[] {
  const out: Slice[] = [];
  for (const tx of slice.block.transactions) {
    const from = Math.max(slice.from, tx.from);
    const to = Math.min(slice.to, tx.to);
    if (from >= to) continue;
    const plans = slice.plans.map((plan) => (plan !== null && isHeld(plan, tx, copied) ? null : plan));
    const last = out.at(-1);
    if (last !== undefined && last.to === from && last.plans.every((plan, i) => plan === plans[i]))
      out[out.length - 1] = { ...last, to };
    else out.push({ ...slice, plans, from, to });
  }
  return out;
}

function isHeld(plan: TablePlan, tx: Transaction, { snapshots, applied }: Copied): boolean {
  // Of tables with a key a further pass brings single rows, which are newer than what was applied before.
  if (plan.key === null && applied !== null && tx.lsn <= applied) return true;
  const snapshot = snapshots.get(plan.relation.oid);
  return snapshot !== undefined && tx.xid !== 0 && sees(snapshot, tx.xid);
}
