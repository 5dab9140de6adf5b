/** The last span of a change's trace: the target transaction that made it visible. */
import { contextFrom, type Telemetry } from '@drover/telemetry';
import type { BatchResult } from '../apply/batch.ts';

/** A merged transaction ends many traces; at most this many are told. */
const SPANS_MAX = 32;

export function applyTraces(
  tracer: Telemetry['tracer'],
  cluster: string,
): (result: BatchResult, seconds: number) => void {
  if (tracer === null) return () => {};
  return (result, seconds) => {
    let spans = 0;
    let last: string | undefined;
    for (const { entry, from, to } of result.work) {
      const { traceparent } = entry;
      if (traceparent === undefined || traceparent === last) continue;
      if (++spans > SPANS_MAX) return;
      last = traceparent;
      const attributes = {
        'drover.cluster': cluster,
        'drover.tenant': entry.tenant,
        'drover.changes': to - from,
      };
      const startTime = new Date(Date.now() - seconds * 1000);
      tracer.startSpan('apply', { startTime, attributes }, contextFrom(traceparent)).end();
    }
  };
}
