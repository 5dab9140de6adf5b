/** The thread of `learner.ts`: a task in, a profile out. */
import { parentPort } from 'node:worker_threads';
import { learn } from '@drover/block';
import { must } from '@drover/core';
import type { Answer, Task } from './learner.ts';

const port = must(parentPort, 'this runs as a worker thread');

port.on('message', ({ messages, tenant, database }: Task) => {
  const bodies = messages.map(({ buffer, byteOffset, byteLength }) =>
    Buffer.from(buffer, byteOffset, byteLength),
  );
  const profile = learn(bodies, { tenant, tables: database });
  const answer: Answer = profile === null ? null : { bytes: profile.bytes, id: profile.id };
  port.postMessage(answer);
});
