/**
 * Child processes of `drover up`: each Drover service is a process of its own, so that each can be killed and restarted by itself.
 * A child tells over IPC when it is ready; one that ends unexpectedly is started again with a growing pause. When the parent
 * vanishes the IPC channel closes and the child stops by itself.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { Backoff, type Deferred, DroverError, deferred, NODE_FLAGS, sleep } from '@drover/core';
import { tailOf } from './log-tail.ts';

export interface ChildSpec {
  /** Unique name, e.g. `cdc-east`. */
  readonly name: string;
  readonly args: readonly string[];
  readonly logFile: string;
}

export type ChildEvent =
  | {
      readonly event: 'ready';
      readonly name: string;
      readonly pid: number;
      readonly info: Record<string, unknown>;
    }
  | {
      readonly event: 'exited';
      readonly name: string;
      readonly code: number | null;
      readonly signal: string | null;
    };

const STABLE_MS = 10_000;

export class Child {
  readonly spec: ChildSpec;
  readonly #onEvent: (event: ChildEvent) => void;
  readonly #entry: string;
  readonly #stopping = new AbortController();
  readonly #firstReady: Deferred<Record<string, unknown>> = deferred();
  #process: ChildProcess | undefined;
  #loop: Promise<void> | undefined;

  constructor(entry: string, spec: ChildSpec, onEvent: (event: ChildEvent) => void) {
    this.#entry = entry;
    this.spec = spec;
    this.#onEvent = onEvent;
    this.#firstReady.promise.catch(() => undefined);
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Starts it; resolves with what it said when it first became ready. @throws `local.failed` when it exits before. */
  async start(): Promise<Record<string, unknown>> {
    this.#loop ??= this.#supervise();
    return this.#firstReady.promise;
  }

  /** SIGTERM, then SIGKILL after `graceMs`. */
  async stop(graceMs = 10_000): Promise<void> {
    this.#stopping.abort();
    const child = this.#process;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
      await this.#loop;
      clearTimeout(timer);
    } else {
      await this.#loop;
    }
  }

  async #supervise(): Promise<void> {
    const backoff = new Backoff(100, 5000);
    let wasReady = false;
    while (!this.#stopping.signal.aborted) {
      const startedAt = performance.now();
      const { code, signal } = await this.#once(() => {
        wasReady = true;
      });
      if (this.#stopping.signal.aborted) break;
      this.#onEvent({ event: 'exited', name: this.spec.name, code, signal });
      if (!wasReady) {
        this.#firstReady.reject(
          new DroverError(
            'local.failed',
            `${this.spec.name} did not start (exit ${code ?? signal}): ${tailOf(this.spec.logFile, 5)}`,
            {
              hint: `see ${this.spec.logFile}`,
            },
          ),
        );
        break;
      }
      if (performance.now() - startedAt > STABLE_MS) backoff.reset();
      await sleep(backoff.nextMs(), this.#stopping.signal);
    }
    this.#firstReady.reject(new DroverError('internal.cancelled', 'stopped'));
  }

  #once(onReady: () => void): Promise<{ code: number | null; signal: string | null }> {
    const log = openSync(this.spec.logFile, 'a');
    const child = spawn(
      process.execPath,
      [...NODE_FLAGS, '--disable-warning=ExperimentalWarning', this.#entry, ...this.spec.args],
      {
        stdio: ['ignore', log, log, 'ipc'],
        detached: true, // Ctrl-C in the terminal reaches only the parent, which stops the children in order
      },
    );
    closeSync(log);
    this.#process = child;
    child.on('message', (message: unknown) => {
      if (typeof message !== 'object' || message === null || !('ready' in message)) return;
      onReady();
      const info = (message.ready ?? {}) as Record<string, unknown>;
      this.#firstReady.resolve(info);
      this.#onEvent({ event: 'ready', name: this.spec.name, pid: child.pid ?? 0, info });
    });
    return new Promise((resolve) => {
      child.on('error', () => resolve({ code: 127, signal: null }));
      child.on('exit', (code, signal) => resolve({ code, signal }));
    });
  }
}
