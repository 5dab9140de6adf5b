/** Lets a lane stop the main lane between two transactions: while the gate is held, the main position does not move. */
import { type Deferred, deferred } from '@drover/core';

export class Gate {
  readonly #waiting: { ready: Deferred<() => void> }[] = [];
  #closed = false;

  /** Resolves, when the main lane stands between transactions, with the function that lets it go on. */
  hold(): Promise<() => void> {
    const ready = deferred<() => void>();
    if (this.#closed) ready.reject(new Error('the pipeline has ended'));
    else this.#waiting.push({ ready });
    this.#onRequest?.();
    return ready.promise;
  }

  get wanted(): boolean {
    return this.#waiting.length > 0;
  }

  #onRequest: (() => void) | undefined;

  /** Wakes a main lane that waits for entries. */
  set onRequest(listener: (() => void) | undefined) {
    this.#onRequest = listener;
  }

  /** The main lane passes here between transactions. */
  async pass(): Promise<void> {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      const released = deferred<void>();
      next.ready.resolve(() => released.resolve());
      await released.promise;
    }
  }

  close(): void {
    this.#closed = true;
    for (const { ready } of this.#waiting.splice(0)) ready.reject(new Error('the pipeline has ended'));
  }
}
