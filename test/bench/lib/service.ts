/** Drover's services as processes of their own, started through the CLI as an operator would. Each ends with this process at the latest. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Closeable, DroverError, must, NODE_FLAGS } from '@drover/core';
import { watchProcess } from '@drover/testkit';

const CLI = fileURLToPath(new URL('../../../services/cli/src/main.ts', import.meta.url));
const STOP_MS = 15_000;
const READY_MS = 60_000;

export interface ServicePlace {
  /** Folder of the logs. */
  readonly folder: string;
  readonly configFile: string;
  /** Where services leave a CPU profile when they end; undefined: none is made. */
  readonly profileTo: string | undefined;
}

export interface Service extends Closeable {
  readonly pid: number;
  /** What it said when it became ready. */
  readonly info: Readonly<Record<string, unknown>>;
}

/** Resolves when the service says that it is ready. @throws DroverError `local.failed` with the end of its log */
export async function startService(place: ServicePlace, name: string, cluster?: string): Promise<Service> {
  const logFile = join(place.folder, cluster === undefined ? `${name}.log` : `${name}-${cluster}.log`);
  const log = openSync(logFile, 'a');
  const profile =
    place.profileTo === undefined
      ? []
      : [
          '--cpu-prof',
          `--cpu-prof-dir=${place.profileTo}`,
          `--cpu-prof-name=${name}-${Date.now()}.cpuprofile`,
        ];
  const child = spawn(
    process.execPath,
    [
      ...NODE_FLAGS,
      ...profile,
      CLI,
      'run',
      name,
      '--config',
      place.configFile,
      ...(cluster === undefined ? [] : ['--cluster', cluster]),
    ],
    { stdio: ['ignore', log, log, 'ipc'], detached: true },
  );
  closeSync(log);
  const exited = new Promise<void>((resolve) => {
    child.once('error', () => resolve());
    child.once('exit', () => resolve());
  });
  const pid = must(child.pid, `process of ${name}`);
  watchProcess(pid, exited);
  const close = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await exited;
    clearTimeout(timer);
  };
  const ready = new Promise<Record<string, unknown>>((resolve, reject) => {
    const failed = (why: string) => () =>
      reject(
        new DroverError('local.failed', `${name} ${why}: ${lastLines(logFile)}`, { hint: `see ${logFile}` }),
      );
    child.on('message', (message: { ready?: Record<string, unknown> }) => {
      if (message.ready !== undefined) resolve(message.ready);
    });
    void exited.then(failed('ended before it was ready'));
    setTimeout(failed('was not ready in time'), READY_MS).unref();
  });
  try {
    return { pid, info: await ready, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Runs a verb of the CLI to its end. @throws DroverError `local.failed` */
export async function runVerb(place: ServicePlace, ...args: readonly string[]): Promise<void> {
  const logFile = join(place.folder, `${args[0] ?? 'verb'}.log`);
  const log = openSync(logFile, 'a');
  const child = spawn(process.execPath, [CLI, ...args, '--config', place.configFile], {
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  const code = await new Promise<number | null>((resolve) => {
    child.once('error', () => resolve(null));
    child.once('exit', resolve);
  });
  if (code === 0) return;
  throw new DroverError('local.failed', `drover ${args.join(' ')} failed: ${lastLines(logFile)}`);
}

export function lastLines(file: string, count = 12): string {
  if (!existsSync(file)) return '(no log)';
  return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-count).join('\n');
}
