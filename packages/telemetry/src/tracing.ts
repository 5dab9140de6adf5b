/** Traces from commit to apply: the W3C trace context travels in the message's `traceparent` header. */
import { type Context, context, type Span, type SpanContext, trace } from '@opentelemetry/api';

/** `00-<trace id>-<span id>-<flags>` of a span; undefined when it is not recorded anywhere. */
export function traceparentOf(span: Span): string | undefined {
  const c = span.spanContext();
  if (/^0+$/.test(c.traceId)) return undefined;
  return `00-${c.traceId}-${c.spanId}-${c.traceFlags.toString(16).padStart(2, '0')}`;
}

/** The context to start a child span in; the active one when the header is absent or malformed. */
export function contextFrom(traceparent: string | undefined): Context {
  const m = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(traceparent ?? '');
  if (m?.[1] === undefined || m[2] === undefined || m[3] === undefined) return context.active();
  const remote: SpanContext = { traceId: m[1], spanId: m[2], traceFlags: Number.parseInt(m[3], 16), isRemote: true };
  return trace.setSpanContext(context.active(), remote);
}
