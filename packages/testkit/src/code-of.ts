import { DroverError } from '@drover/core';

/** What became of it: `done`, or the error's code, or of one that has none its text. */
export function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'done',
    (error: unknown) => (error instanceof DroverError ? error.code : String(error)),
  );
}
