import type { ClusterId } from '@drover/core';
import type { Config } from './types.ts';

/** What every service's `run` gets. It returns when `signal` aborts and all is closed. */
export interface RunOptions {
  readonly config: Config;
  readonly signal: AbortSignal;
  /** Services that run once per cluster. */
  readonly cluster?: ClusterId;
  /** Called once, when the service is ready to work. */
  readonly onReady?: (info: Readonly<Record<string, unknown>>) => void;
  /** Overrides the port of /metrics. */
  readonly metricsPort?: number;
}
