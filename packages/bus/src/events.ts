/** What happened, for whoever listens now: `drover.events.<kind>`, JSON. Nothing relies on an event to arrive. */
import type { Closeable } from '@drover/core';
import type { Bus } from './connect.ts';

const PREFIX = 'drover.events.';

/** Told to whoever is connected; lost when nobody is, or while NATS is away. Never throws for that. */
export function publishEvent(bus: Bus, kind: string, fields: Readonly<Record<string, unknown>>): void {
  if (bus.nc.isClosed()) return;
  bus.nc.publish(`${PREFIX}${kind}`, JSON.stringify({ at: new Date().toISOString(), ...fields }));
}

/** `filter` may use NATS wildcards, e.g. `failover.*` or `>`. What is no JSON object is passed over; what the handler throws is a process warning. */
export function onEvent(
  bus: Bus,
  filter: string,
  handler: (kind: string, fields: Record<string, unknown>) => void,
): Closeable {
  const subscription = bus.nc.subscribe(`${PREFIX}${filter}`, {
    callback: (error, message) => {
      if (error !== null) return;
      try {
        const fields: unknown = JSON.parse(message.string());
        if (typeof fields !== 'object' || fields === null) return;
        handler(message.subject.slice(PREFIX.length), fields as Record<string, unknown>);
      } catch (failure) {
        if (failure instanceof SyntaxError) return;
        process.emitWarning(failure instanceof Error ? failure : String(failure));
      }
    },
  });
  return { close: async () => subscription.unsubscribe() };
}
