/** One span per block, from publishing to acknowledgement; its context travels with the message (W3C Trace Context). */
import type { OutMessage } from '@drover/bus';
import { formatLsn } from '@drover/core';
import { type Telemetry, traceparentOf } from '@drover/telemetry';
import type { Group } from '../capture/lane.ts';

export type Tracer = NonNullable<Telemetry['tracer']>;

/** SpanKind.PRODUCER and SpanStatusCode.ERROR of the OpenTelemetry API. */
const PRODUCER = 3;
const ERROR = 2;

export async function traceGroup(
  tracer: Tracer,
  group: Group,
  publish: (messages: readonly OutMessage[]) => Promise<void>,
): Promise<void> {
  const spans = group.messages.map((m) =>
    tracer.startSpan('cdc.block', {
      kind: PRODUCER,
      attributes: {
        'drover.token': m.token,
        'drover.lsn': formatLsn(m.lastLsn),
        'drover.bytes': m.block.length,
      },
    }),
  );
  try {
    await publish(
      group.messages.map((message, i) => {
        const span = spans[i];
        const traceparent = span?.isRecording() === true ? traceparentOf(span) : undefined;
        return traceparent === undefined ? message : { ...message, traceparent };
      }),
    );
  } catch (error) {
    for (const span of spans) span.setStatus({ code: ERROR });
    throw error;
  } finally {
    for (const span of spans) span.end();
  }
}
