/** Drover's services as processes of their own: they can be killed, also by themselves at a step. What they print on stderr is the test's. */
import { fork } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from '@drover/config';
import { testFolder, watchProcess } from '@drover/testkit';
import type { Running, Service } from './services.ts';

export interface Process extends Running {
  readonly pid: number;
  /** Resolves when it has ended, however. */
  readonly exited: Promise<void>;
}

/** Where it kills itself: the `nth` time that it comes to the step. */
export interface Death {
  readonly step: string;
  readonly nth: number;
}

const MAIN = fileURLToPath(new URL('./service-main.ts', import.meta.url));
const READY_MS = 180_000;

export function spawned(service: Service, config: Config, death: Death = { step: '', nth: 1 }): Process {
  const file = join(testFolder('config'), 'config.json');
  const { security } = config; // kept out of JSON
  writeFileSync(file, JSON.stringify({ ...config, security: { ...security } }), { mode: 0o600 });
  const child = fork(MAIN, [service, file, death.step, String(death.nth)], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const exited = new Promise<void>((resolve) => void child.once('exit', () => resolve()));
  if (child.pid !== undefined) watchProcess(child.pid, exited);
  let metricsUrl = '';
  const ready = new Promise<void>((resolve, reject) => {
    child.once('message', (info: { metricsUrl?: string }) => {
      metricsUrl = info.metricsUrl ?? '';
      resolve();
    });
    void exited.then(() => reject(new Error(`${service} ended before it was ready`)));
    setTimeout(() => reject(new Error(`${service} was not ready in time`)), READY_MS).unref();
  });
  const end = (signal: NodeJS.Signals) => async (): Promise<void> => {
    child.kill(signal);
    await exited;
  };
  return {
    ready,
    exited,
    pid: child.pid ?? 0,
    get metricsUrl() {
      return metricsUrl;
    },
    stop: end('SIGTERM'),
    kill: end('SIGKILL'),
  };
}
