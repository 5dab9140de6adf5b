import type { StreamedHeader } from '@drover/block';
import { expect, it } from 'vitest';
import { toEntry } from './entry.ts';
import { messageOf } from './message.testing.ts';

const PART = { kind: 'part', attempt: 'a', xid: 5, cut: 0, last: true } as const;

const message = (streamed?: StreamedHeader) =>
  messageOf(
    Array.from({ length: 100 }, (_, i) => `${i * 7919} `.repeat(20)),
    { streamed },
  );

it('a block takes up what is stored of it', () => {
  const block = message();
  const { length } = block.data;
  expect(toEntry(block, 'app')).toMatchObject({ kind: 'block', size: length, stored: length, to: 1 });
});

it('a part takes up next to nothing, and says how much there is to write', () => {
  const part = message(PART);
  expect(part.data.length).toBeGreaterThan(500);
  const entry = toEntry(part, 'app');
  expect(entry).toMatchObject({ kind: 'part', block: null, size: 256, stored: part.data.length });
});
