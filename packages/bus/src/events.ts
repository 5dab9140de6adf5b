/** What happened, for whoever listens: `drover.events.<kind>`, JSON. */
import type { Closeable } from '@drover/core';
import type { Bus } from './connect.ts';

export function publishEvent(bus: Bus, kind: string, fields: Readonly<Record<string, unknown>>): void {
  bus.nc.publish(`drover.events.${kind}`, JSON.stringify({ at: new Date().toISOString(), ...fields }));
}

/** `filter` may use NATS wildcards, e.g. `failover.*` or `>`. */
export function onEvent(
  bus: Bus,
  filter: string,
  handler: (kind: string, fields: Record<string, unknown>) => void,
): Closeable {
  const subscription = bus.nc.subscribe(`drover.events.${filter}`, {
    callback: (error, message) => {
      if (error === null)
        handler(message.subject.slice('drover.events.'.length), message.json<Record<string, unknown>>());
    },
  });
  return { close: async () => subscription.unsubscribe() };
}
