/** Capture and apply as a test runs them: within its process, or as processes of their own that can be killed. */
import { fork } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config, RunOptions } from '@drover/config';
import { clusterId } from '@drover/core';
import { watchProcess } from '@drover/testkit';
import { run as runApply } from '../../services/apply/src/main.ts';
import { run as runCdc } from '../../services/cdc/src/main.ts';

const SERVICES = {
  cdc: { run: runCdc, cluster: clusterId('east') },
  apply: { run: runApply, cluster: clusterId('west') },
} as const satisfies Record<string, { run: (options: RunOptions) => Promise<void>; cluster: string }>;

export type ServiceName = keyof typeof SERVICES;

export interface Running {
  stop(): Promise<void>;
  kill(): Promise<void>;
}

export async function inProcess(name: ServiceName, config: Config): Promise<Running> {
  const stop = new AbortController();
  const ready = Promise.withResolvers<void>();
  const { run, cluster } = SERVICES[name];
  const ended = run({ config, cluster, signal: stop.signal, metricsPort: 0, onReady: () => ready.resolve() });
  ended.catch(ready.reject);
  await ready.promise;
  const end = async (): Promise<void> => {
    stop.abort();
    await ended;
  };
  return { stop: end, kill: end };
}

const READY_MS = 60_000;

/** Its errors go to this process's own. */
export async function spawned(name: ServiceName, config: Config): Promise<Running> {
  const file = join(mkdtempSync(join(tmpdir(), 'drover-test-config-')), 'config.json');
  const { security } = config; // hidden from JSON
  writeFileSync(file, JSON.stringify({ ...config, security: { ...security } }), { mode: 0o600 });
  const child = fork(fileURLToPath(new URL('./service-main.ts', import.meta.url)), [name, file], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const exited = new Promise<void>((resolve) => void child.once('exit', () => resolve()));
  if (child.pid !== undefined) watchProcess(child.pid, exited);
  const end = (signal: NodeJS.Signals) => async (): Promise<void> => {
    child.kill(signal);
    await exited;
  };
  const ready = new Promise<void>((resolve, reject) => {
    child.once('message', () => resolve());
    void exited.then(() => reject(new Error(`${name} ended before it was ready`)));
    setTimeout(() => reject(new Error(`${name} was not ready in time`)), READY_MS).unref();
  });
  await ready;
  return { stop: end('SIGTERM'), kill: end('SIGKILL') };
}

/** What `service-main.ts` does. */
export async function main(name: string, config: Config): Promise<void> {
  const { run, cluster } = SERVICES[name as ServiceName];
  const stop = new AbortController();
  process.once('SIGTERM', () => stop.abort());
  // The test is gone.
  process.once('disconnect', () => process.exit(1));
  await run({ config, cluster, signal: stop.signal, metricsPort: 0, onReady: () => process.send?.('ready') });
  process.disconnect();
}
