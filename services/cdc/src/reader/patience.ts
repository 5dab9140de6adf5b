/** A question to a server that may have gone silent without a word: a connection that is half open answers nothing and fails nothing. */
import { DroverError, sleep } from '@drover/core';

/** @throws DroverError `pg.unreachable` when there is no answer in time; what is asked goes on, its outcome is nobody's any more */
export async function inTime<T>(answer: Promise<T>, patienceMs: number): Promise<T> {
  const answered = new AbortController();
  const late = sleep(patienceMs, answered.signal).then((slept) => {
    if (slept) throw new DroverError('pg.unreachable', `PostgreSQL does not answer within ${patienceMs} ms`);
    return answer;
  });
  answer.catch(() => {}); // late, and told already
  try {
    return await Promise.race([answer, late]);
  } finally {
    answered.abort();
    late.catch(() => {});
  }
}
