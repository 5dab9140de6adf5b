/**
 * The composition root: which program is behind `drover run <service>`. The CLI is the one place that knows all services; it loads
 * them by name when asked and imports none.
 */
import type { RunOptions } from '@drover/config';
import { DroverError } from '@drover/core';

export const SERVICES = ['cdc', 'apply', 'failover', 'migration', 'proxy', 'control'] as const;
export type ServiceName = (typeof SERVICES)[number];

/** Services of which one runs for each cluster. */
export const PER_CLUSTER: ReadonlySet<ServiceName> = new Set(['cdc', 'apply']);

export function serviceName(text: string): ServiceName {
  const found = SERVICES.find((name) => name === text);
  if (found === undefined) {
    throw new DroverError('config.invalid', `there is no service ${text}`, {
      hint: `one of ${SERVICES.join(', ')}, or all`,
    });
  }
  return found;
}

export async function loadService(name: ServiceName): Promise<(options: RunOptions) => Promise<void>> {
  const module = (await import(new URL(`../../${name}/src/main.ts`, import.meta.url).href)) as {
    run: (options: RunOptions) => Promise<void>;
  };
  return module.run;
}
