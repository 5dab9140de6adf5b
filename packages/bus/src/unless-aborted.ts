/** Waiting for what cannot be called off itself. */
import { cancelled } from '@drover/core';

/** The outcome of `work`, unless the signal aborts first; what becomes of it then is ignored. @throws `internal.cancelled` */
export function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const onAbort = () => reject(cancelled());
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  return promise;
}
