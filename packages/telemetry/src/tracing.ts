/**
 * Traces from commit to apply: the W3C trace context travels in the message's `traceparent` header
 * (https://www.w3.org/TR/trace-context/, 3.2).
 */
import {
  type Context,
  isSpanContextValid,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  trace,
} from '@opentelemetry/api';

/** `00-<trace id>-<span id>-<flags>`; undefined when the span is recorded nowhere. */
export function traceparentOf(span: Span): string | undefined {
  const spanContext = span.spanContext();
  if (!isSpanContextValid(spanContext) || !span.isRecording()) return undefined;
  const flags = spanContext.traceFlags.toString(16).padStart(2, '0');
  return `00-${spanContext.traceId}-${spanContext.spanId}-${flags}`;
}

/** The context to start a child span in; one without a parent when the header is absent or malformed. */
export function contextFrom(traceparent: string | undefined): Context {
  const parent = parseTraceparent(traceparent);
  return parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent);
}

/** Versions after 00 may add fields behind the flags; version ff is forbidden. */
function parseTraceparent(header: string | undefined): SpanContext | undefined {
  const m = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/.exec(header ?? '');
  const [, version, traceId = '', spanId = '', flags = '', more] = m ?? [];
  if (m === null || version === 'ff' || (version === '00' && more !== undefined)) return undefined;
  const parent: SpanContext = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true };
  return isSpanContextValid(parent) ? parent : undefined;
}
