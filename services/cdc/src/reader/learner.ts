/** Learns profiles on a thread of its own, which is there while it is needed: learning takes some hundred milliseconds, for which the reader must not stand still. */
import { Worker } from 'node:worker_threads';
import type { Closeable } from '@drover/core';
import type { Learner } from '../capture/school.ts';

export interface Task {
  readonly messages: readonly Uint8Array[];
  readonly tenant: string;
  readonly database: string;
}

/** What the thread answers; null: nothing can be learnt. */
export type Answer = { readonly bytes: Uint8Array; readonly id: string } | null;

/** Without a task for so long the thread ends: it takes some ten megabytes. */
const IDLE_MS = 30_000;
const HEAP_MB = 96;
/** Who takes longer has gone wrong. */
const LEARN_MS_MAX = 60_000;

export class ThreadLearner implements Learner, Closeable {
  readonly #database: string;
  #worker: Worker | null = null;
  #idle: NodeJS.Timeout | undefined;

  constructor(database: string) {
    this.#database = database;
  }

  /** One at a time. @throws Error when the thread died over it */
  async learn(messages: readonly Buffer[], tenant: string): Promise<{ bytes: Buffer; id: string } | null> {
    clearTimeout(this.#idle);
    this.#worker ??= this.#start();
    const worker = this.#worker;
    const task: Task = { messages, tenant, database: this.#database };
    const timer = setTimeout(() => void worker.terminate(), LEARN_MS_MAX).unref();
    try {
      const answer = await ask(worker, task);
      return answer === null ? null : { bytes: Buffer.from(answer.bytes), id: answer.id };
    } finally {
      clearTimeout(timer);
      this.#idle = setTimeout(() => void this.close(), IDLE_MS).unref();
    }
  }

  async close(): Promise<void> {
    clearTimeout(this.#idle);
    const worker = this.#worker;
    this.#worker = null;
    await worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(new URL('./learner-thread.ts', import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
    });
    worker.unref(); // it keeps nobody running
    worker.on('error', () => {}); // whoever waits is told
    worker.once('exit', () => {
      if (this.#worker === worker) this.#worker = null;
    });
    return worker;
  }
}

function ask(worker: Worker, task: Task): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const done = (act: () => void): void => {
      worker.off('message', onMessage).off('messageerror', onError).off('error', onError).off('exit', onExit);
      act();
    };
    const onMessage = (answer: Answer): void => done(() => resolve(answer));
    const onError = (error: unknown): void =>
      done(() => reject(new Error('learning a profile failed', { cause: error })));
    const onExit = (): void => onError(new Error('the thread has ended'));
    worker.on('message', onMessage).on('messageerror', onError).on('error', onError).on('exit', onExit);
    worker.postMessage(task);
  });
}
