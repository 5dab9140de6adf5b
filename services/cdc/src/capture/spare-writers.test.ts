import { BlockWriter } from '@drover/block';
import type { Lsn } from '@drover/core';
import { expect, it } from 'vitest';
import { SpareWriters } from './spare-writers.ts';

function grown(bytes: number): BlockWriter {
  const writer = new BlockWriter();
  writer.begin(1n as Lsn, 0n, 1);
  writer.message(1n as Lsn, 'p', Buffer.alloc(bytes));
  return writer;
}

it('gives back what it was given, empty, and a new one when there is none', () => {
  const spare = new SpareWriters(1_000_000);
  const writer = grown(50_000);
  spare.give(writer);
  expect(spare.take()).toBe(writer);
  expect(writer.size).toBe(0);
  expect(writer.capacity).toBeGreaterThan(50_000);
  expect(spare.take()).not.toBe(writer);
});

it('keeps no more than its bytes, and no huge one', () => {
  const spare = new SpareWriters(200_000);
  const writers = [grown(50_000), grown(50_000), grown(50_000), grown(50_000)];
  for (const writer of writers) spare.give(writer);
  const kept = writers.map(() => spare.take()).filter((writer) => writers.includes(writer));
  expect(kept.length).toBeGreaterThan(0);
  expect(kept.reduce((sum, writer) => sum + writer.capacity, 0)).toBeLessThanOrEqual(200_000);
  const huge = grown(5_000_000);
  const large = new SpareWriters(100_000_000);
  large.give(huge);
  expect(large.take().capacity).toBeLessThan(1_000_000);
});
