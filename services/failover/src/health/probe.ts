/**
 * The controller's own look at a cluster: one connection as `drover_admin`, one query every interval. Reports
 * `connect` and `query`; a cluster that is starting up or in crash recovery fails both, and the grace time waits it out.
 */
import type { ClusterId } from '@drover/core';
import { isCancelled, sleep } from '@drover/core';
import { type ConnectOptions, connectPg } from '@drover/pg';
import type { Observation, SignalState } from './judge.ts';

type Client = Awaited<ReturnType<typeof connectPg>>;

export interface ProbeOptions {
  readonly cluster: ClusterId;
  readonly observer: string;
  readonly connect: ConnectOptions;
  readonly everyMs: number;
  /** A connect or query slower than this is a failure. */
  readonly timeoutMs: number;
  readonly report: (observation: Observation) => void;
  readonly signal: AbortSignal;
}

/** Probes until the signal aborts. Never throws: what fails is reported. */
export async function runProbe(options: ProbeOptions): Promise<void> {
  let client: Client | undefined;
  while (!options.signal.aborted) {
    const signals: Record<string, SignalState> = { connect: 'ok', query: 'unknown' };
    try {
      if (client === undefined)
        client = await within(connectPg(options.connect), options.timeoutMs, closeLate);
      signals['query'] = 'fail';
      await within(client.query('SELECT 1'), options.timeoutMs);
      signals['query'] = 'ok';
    } catch (error) {
      if (isCancelled(error)) break;
      if (client === undefined) signals['connect'] = 'fail';
      signals['query'] = 'fail';
      const broken = client;
      client = undefined;
      if (broken !== undefined) closeLate(broken);
    }
    options.report({ observer: options.observer, kind: 'failover', cluster: options.cluster, signals });
    await sleep(options.everyMs, options.signal);
  }
  if (client !== undefined) await client.end().catch(() => undefined);
}

function closeLate(client: Client): void {
  client.end().catch(() => undefined);
}

/** The promise's outcome, or a failure after `ms`; what arrives too late goes to `late`. */
function within<T>(promise: Promise<T>, ms: number, late?: (value: T) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    let expired = false;
    const timer = setTimeout(() => {
      expired = true;
      reject(new Error(`no answer within ${ms} ms`));
    }, ms);
    promise.then(
      (value) => {
        clearTimeout(timer);
        if (expired) late?.(value);
        else resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error instanceof Error ? error : new Error(String(error)));
      },
    );
  });
}
