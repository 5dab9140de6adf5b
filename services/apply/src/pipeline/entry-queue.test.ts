import { describe, expect, it } from 'vitest';
import type { Entry } from '../changes/entry.ts';
import { EntryQueue } from './entry-queue.ts';
import { Gate } from './gate.ts';

const entry = (seq: number, size = 10): Entry => ({ seq, size }) as Entry;
const idle = new AbortController().signal;

describe('the queue between consumer and transactions', () => {
  it('gives batches up to a size, never less than one', async () => {
    const queue = new EntryQueue(1000);
    for (let i = 1; i <= 5; i++) await queue.push(entry(i, 30));
    expect(queue.take(70).map((e) => e.seq)).toEqual([1, 2]);
    expect(queue.take(1).map((e) => e.seq)).toEqual([3]);
    expect(queue.bytes).toBe(60);
  });

  it('makes the producer wait when it is full, and lets it go when it ends', async () => {
    const queue = new EntryQueue(25);
    const order: string[] = [];
    const producer = (async () => {
      await queue.push(entry(1));
      await queue.push(entry(2));
      await queue.push(entry(3));
      order.push('third in');
      await queue.push(entry(4));
      order.push('fourth in');
    })();
    await new Promise(setImmediate);
    expect(queue.length).toBe(3);
    expect(order).toEqual([]);
    queue.take(20);
    await queue.push(entry(5)).then(() => queue.end());
    await producer;
    expect(order).toEqual(['third in', 'fourth in']);
  });

  it('wakes a waiting consumer by an entry, a poke, the end, a failure, and after a time', async () => {
    const queue = new EntryQueue(100);
    const woken = queue.wait(idle);
    void queue.push(entry(1));
    expect(await woken).toBe(true);
    queue.take(10);
    const poked = queue.wait(idle);
    queue.poke();
    expect(await poked).toBe(false);
    expect(await queue.wait(idle, 5)).toBe(false);
    const failed = queue.wait(idle);
    queue.end(new Error('gone'));
    await expect(failed).rejects.toThrow('gone');
    const ended = new EntryQueue(1);
    ended.end();
    expect(await ended.wait(idle)).toBe(false);
  });
});

describe('the gate of the main lane', () => {
  it('stops it between transactions until all who hold it let go', async () => {
    const gate = new Gate();
    let pokes = 0;
    gate.onRequest = () => pokes++;
    const holds = [gate.hold(), gate.hold()];
    const passed = gate.pass();
    let through = false;
    void passed.then(() => {
      through = true;
    });
    (await holds[0]!)();
    const last = await holds[1]!;
    expect(through).toBe(false);
    last();
    await passed;
    expect(pokes).toBe(2);
  });

  it('refuses holders when the pipeline has ended', async () => {
    const gate = new Gate();
    const waiting = gate.hold();
    gate.close();
    await expect(waiting).rejects.toThrow('ended');
    await expect(gate.hold()).rejects.toThrow('ended');
  });
});
