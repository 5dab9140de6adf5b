/**
 * Waiting, backing off and shutting down. Every wait takes an AbortSignal; cancellation is never an error to log.
 */
import { DroverError } from './errors.ts';

export function cancelled(): DroverError {
  return new DroverError('internal.cancelled', 'cancelled');
}

export function isCancelled(error: unknown): boolean {
  return (
    (error instanceof DroverError && error.disposition === 'cancelled') ||
    (error instanceof Error && error.name === 'AbortError')
  );
}

/** Resolves after `ms`, or at once (without throwing) when the signal aborts. Returns false when aborted. */
export function sleep(ms: number, signal?: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve(false);
      return;
    }
    const onAbort = () => {
      clearTimeout(timer);
      resolve(false);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve(true);
    }, ms);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** Exponential backoff with full jitter and a cap; `reset()` on a healthy signal, not on connecting. */
export class Backoff {
  #attempt = 0;
  readonly #baseMs: number;
  readonly #capMs: number;
  readonly #random: () => number;

  constructor(baseMs = 100, capMs = 5000, random: () => number = Math.random) {
    this.#baseMs = baseMs;
    this.#capMs = capMs;
    this.#random = random;
  }

  get attempt(): number {
    return this.#attempt;
  }

  nextMs(): number {
    const ceiling = Math.min(this.#capMs, this.#baseMs * 2 ** Math.min(this.#attempt, 20));
    this.#attempt++;
    return ceiling / 2 + (this.#random() * ceiling) / 2;
  }

  reset(): void {
    this.#attempt = 0;
  }
}

/** Anything long-lived: who creates it closes it, in reverse order. */
export interface Closeable {
  close(): Promise<void>;
}

/** Closes what was added, last first; every close is tried, the first failure is rethrown at the end. */
export class Closer implements Closeable {
  readonly #items: Closeable[] = [];

  add<T extends Closeable>(item: T): T {
    this.#items.push(item);
    return item;
  }

  async close(): Promise<void> {
    let failure: unknown;
    for (let item = this.#items.pop(); item !== undefined; item = this.#items.pop()) {
      try {
        await item.close();
      } catch (error) {
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
  }
}

/** A promise with its handles outside. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
}

export function deferred<T>(): Deferred<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  return { promise, resolve, reject };
}

/** Waits until `probe` returns something other than undefined, looking every `everyMs`. @throws on timeout the given error. */
export async function until<T>(
  probe: () => Promise<T | undefined> | T | undefined,
  options: { everyMs: number; timeoutMs: number; signal?: AbortSignal; onTimeout: () => Error },
): Promise<T> {
  const deadline = performance.now() + options.timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined) return value;
    if (options.signal?.aborted) throw cancelled();
    if (performance.now() >= deadline) throw options.onTimeout();
    await sleep(options.everyMs, options.signal);
  }
}
