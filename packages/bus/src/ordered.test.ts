import { describe, expect, it } from 'vitest';
import { checkPosition } from './ordered.ts';
import type { StreamState } from './stream.ts';

const state = (firstSeq: number, lastSeq: number, created = 'then'): StreamState => ({
  created,
  firstSeq,
  lastSeq,
  messages: lastSeq - firstSeq + 1,
  bytes: 0,
});

describe('a position in a stream', () => {
  it.each([
    ['the beginning of a new stream', state(1, 0), 'then', 1, 'all', 'none'],
    ['within', state(5, 20), 'then', 5, 'all', 'none'],
    ['just behind the end', state(5, 20), 'then', 21, 'all', 'none'],
    ['just behind the end of an emptied one', state(21, 20), 'then', 21, 'all', 'none'],
    ['within an emptied one', state(21, 20), 'then', 20, 'all', 'bus.truncated'],
    ['before the head', state(5, 20), 'then', 4, 'all', 'bus.truncated'],
    ['before the head, of one tenant', state(5, 20), 'then', 4, 'head', 'bus.truncated'],
    ['before the head, where only the newest count', state(5, 20), 'then', 4, 'newest', 'none'],
    ['beyond the end', state(5, 20), 'then', 22, 'all', 'bus.recreated'],
    ['beyond the end, where only the newest count', state(5, 20), 'then', 22, 'newest', 'bus.recreated'],
    ['within another stream', state(5, 20, 'later'), 'then', 6, 'all', 'bus.recreated'],
    ['within one of unknown identity', state(5, 20, 'later'), undefined, 6, 'all', 'none'],
    ['nowhere yet', state(5, 20), 'then', undefined, 'all', 'none'],
  ] as const)('%s', (_, there, created, next, complete, code) => {
    const check = () => checkPosition({ stream: 'S', complete }, there, created, next);
    if (code === 'none') check();
    else expect(check).toThrow(expect.objectContaining({ code }));
  });
});
