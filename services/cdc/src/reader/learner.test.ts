/** The real thread. */
import { learn } from '@drover/block';
import { makeBody } from '@drover/block/columnar/test-bodies.ts';
import { afterEach, expect, it } from 'vitest';
import { ThreadLearner } from './learner.ts';

const bodies = Array.from({ length: 60 }, (_, seed) =>
  makeBody({ seed, rows: 2, tables: 1, columns: 6, schemaSeed: 3 }),
);

let learner: ThreadLearner;
afterEach(() => learner.close());

it('learns what would be learnt here', async () => {
  learner = new ThreadLearner('app');
  const expected = learn(bodies, { tenant: 'acme', tables: 'app' });
  const [found, again] = [await learner.learn(bodies, 'acme'), await learner.learn(bodies, 'acme')];
  expect(found?.id).toBe(expected?.id);
  expect(found?.bytes.equals(expected?.bytes ?? Buffer.alloc(0))).toBe(true);
  expect(again?.id).toBe(expected?.id);
});

it('learns nothing of nothing', async () => {
  learner = new ThreadLearner('app');
  expect(await learner.learn([], 'acme')).toBeNull();
  expect(await learner.learn([Buffer.from('no records')], 'acme')).toBeNull();
});

it('fails whoever waits when its thread ends, and has another for the next', async () => {
  learner = new ThreadLearner('app');
  const waiting = learner.learn(bodies, 'acme');
  const failed = expect(waiting).rejects.toThrow('learning a profile failed');
  await learner.close();
  await failed;
  expect(await learner.learn(bodies, 'acme')).not.toBeNull();
});
