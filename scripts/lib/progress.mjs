/**
 * One line for a step that takes a while: says that it goes on, and how long it took.
 */
const EVERY_MS = 10_000;

/** Prints `what`, then the elapsed seconds now and then; call the result with the outcome. */
export function progress(what, write = (text) => process.stderr.write(text)) {
  const start = performance.now();
  const elapsed = () => `${((performance.now() - start) / 1000).toFixed(1)} s`;
  write(`drover: ${what} ...\n`);
  const timer = setInterval(() => write(`drover: ${what} ... ${elapsed()}\n`), EVERY_MS);
  timer.unref();
  return (outcome) => {
    clearInterval(timer);
    write(`drover: ${what}: ${outcome} (${elapsed()})\n`);
  };
}
