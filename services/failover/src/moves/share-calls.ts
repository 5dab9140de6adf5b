/** Many ask the same question at once: one call answers those who asked before it began, never those who asked after. */
export function shareCalls<T>(call: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  let next: Promise<T> | undefined;
  const start = (): Promise<T> => {
    running = call().finally(() => {
      running = undefined;
    });
    return running;
  };
  return () => {
    if (running === undefined) return start();
    const go = (): Promise<T> => {
      next = undefined;
      return start();
    };
    next ??= running.then(go, go);
    return next;
  };
}
