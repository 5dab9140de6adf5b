/** What a schema change comes to, in the form that batches are reported in. */
import type { BatchResult } from '../apply/batch.ts';

export function resultOf(parked: BatchResult['parked']): BatchResult {
  return {
    states: new Map(),
    rows: 0,
    work: [],
    notes: [],
    barriers: [],
    dirty: new Set(),
    demoted: [],
    paused: [],
    parked,
    held: [],
    counts: new Map([['ddl', 1]]),
    transactions: 0,
    heartbeatMs: null,
    tenants: [],
  };
}
