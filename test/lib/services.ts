/** Drover's services as a test runs them within its own process. */
import type { Config, RunOptions } from '@drover/config';
import { clusterId } from '@drover/core';
import { run as runApply } from '../../services/apply/src/main.ts';
import { run as runCdc } from '../../services/cdc/src/main.ts';
import { run as runFailover } from '../../services/failover/src/main.ts';
import { run as runMigration } from '../../services/migration/src/main.ts';
import { run as runProxy } from '../../services/proxy/src/main.ts';

const RUN = {
  cdc: runCdc,
  apply: runApply,
  failover: runFailover,
  migration: runMigration,
  proxy: runProxy,
} as const satisfies Record<string, (options: RunOptions) => Promise<void>>;

/** With its cluster, where it is one of a cluster. */
export type Service = 'failover' | 'migration' | 'proxy' | `${'cdc' | 'apply'} ${'east' | 'west'}`;

/** A service that was started. */
export interface Running {
  /** Rejects when it ends before. */
  readonly ready: Promise<void>;
  /** Where it serves its metrics and its health; empty until it is ready. */
  readonly metricsUrl: string;
  /** In an orderly way. Rejects with what it failed of. */
  stop(): Promise<void>;
  /** Nothing more of it runs, as far as that can be done. */
  kill(): Promise<void>;
}

export interface ServiceOptions extends Omit<RunOptions, 'cluster' | 'metricsPort'> {
  /** Before each step of cdc and apply that has a name. What it does before its first wait holds them up. */
  readonly failpoint?: (step: string) => Promise<void>;
  /** Of cdc: how soon it learns profiles. */
  readonly pace?: { readonly seen: number; readonly samples: number; readonly rest: number };
}

export function runService(service: Service, options: ServiceOptions): Promise<void> {
  const [name, cluster] = service.split(' ') as [keyof typeof RUN, string?];
  return RUN[name]({
    ...options,
    metricsPort: 0,
    ...(cluster === undefined ? {} : { cluster: clusterId(cluster) }),
  });
}

export function inProcess(service: Service, config: Config): Running {
  const stop = new AbortController();
  const ready = Promise.withResolvers<void>();
  let metricsUrl = '';
  const ended = runService(service, {
    config,
    signal: stop.signal,
    onReady: (info) => {
      if (typeof info['metricsUrl'] === 'string') metricsUrl = info['metricsUrl'];
      ready.resolve();
    },
  });
  ended.catch(ready.reject);
  const end = async (): Promise<void> => {
    stop.abort();
    await ended;
  };
  return {
    ready: ready.promise,
    get metricsUrl() {
      return metricsUrl;
    },
    stop: end,
    kill: end,
  };
}
