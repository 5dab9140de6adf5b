import { describe, expect, it, vi } from 'vitest';
import { Disturbance } from './disturbance.ts';
import { type Pass, type Share, Turns } from './turns.ts';

const KB = 1024;
const never = new AbortController().signal;
const ticks = async (): Promise<void> => {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
};

/** Somebody who always has more to do, in pieces. */
async function work(
  share: Share,
  piece: number,
  order: string[],
  name: string,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    const turn = await share.take(signal).catch(() => null);
    if (turn === null) return;
    order.push(name);
    await new Promise((resolve) => setImmediate(resolve));
    turn.done(piece);
  }
}

describe('turns', () => {
  it('are shared by weight, whatever the pieces are', async () => {
    const turns = new Turns({ atOnce: 1 });
    const stop = new AbortController();
    const order: string[] = [];
    const workers = [
      work(
        turns.join(() => 3),
        256 * KB,
        order,
        'heavy',
        stop.signal,
      ),
      work(
        turns.join(() => 1),
        64 * KB,
        order,
        'light',
        stop.signal,
      ),
    ];
    while (order.length < 2000) await ticks();
    stop.abort();
    await Promise.all(workers);
    const heavy = order.filter((name) => name === 'heavy').length * 256;
    const light = order.filter((name) => name === 'light').length * 64;
    expect(heavy / light).toBeGreaterThan(2.8);
    expect(heavy / light).toBeLessThan(3.2);
  });

  it('are as many at once as there may be', async () => {
    const turns = new Turns({ atOnce: 2 });
    const given: Pass[] = [];
    for (let i = 0; i < 3; i++)
      void turns
        .join(() => 1)
        .take(never)
        .then((turn) => given.push(turn));
    await ticks();
    expect(given).toHaveLength(2);
    given[0]?.done(1);
    given[0]?.done(1);
    await ticks();
    expect(given).toHaveLength(3);
  });

  it('are not kept from others by one that never ends', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const turns = new Turns({ atOnce: 1 });
      const stuck = await turns.join(() => 1).take(never);
      const next = turns.join(() => 1).take(never);
      await vi.advanceTimersByTimeAsync(2000);
      const third = turns.join(() => 1).take(never);
      stuck.done(1); // late, and no second turn for it
      (await next).done(1);
      (await third).done(1);
    } finally {
      vi.useRealTimers();
    }
  });

  it('go to the others when somebody gives up waiting, or leaves', async () => {
    const turns = new Turns({ atOnce: 1 });
    const [a, b, c, d] = [1, 1, 1, 1].map((weight) => turns.join(() => weight)) as [
      Share,
      Share,
      Share,
      Share,
    ];
    const first = await a.take(never);
    const stop = new AbortController();
    const [second, third] = [b.take(stop.signal), c.take(never)];
    second.catch(() => undefined);
    third.catch(() => undefined);
    const fourth = d.take(never);
    stop.abort();
    c.leave();
    await expect(second).rejects.toThrow();
    await expect(third).rejects.toThrow();
    first.done(1);
    (await fourth).done(1);
    await expect(c.take(never)).rejects.toThrow();
  });

  it('wait while the main lanes suffer, not for longer than three times what the last one took', async () => {
    let now = 0;
    const turns = new Turns({ atOnce: 1, nowMs: () => now });
    const live = (ms: number) =>
      turns.live(100, async () => {
        now += ms;
      });
    const share = turns.join(() => 1);
    for (let i = 0; i < 300; i++) await live(2);
    const first = await share.take(never);
    for (let i = 0; i < 10; i++) await live(10); // beside it
    first.done(1);
    await ticks();
    let given = false;
    const next = share.take(never).then((turn) => {
      given = true;
      return turn;
    });
    await live(50);
    await ticks();
    expect(given).toBe(false); // the first took 100 ms
    now += 160;
    (await next).done(1);
  });

  it('do not wait for main lanes that have nothing to do, or that do not feel them', async () => {
    let now = 0;
    const turns = new Turns({ atOnce: 1, nowMs: () => now });
    const share = turns.join(() => 1);
    const live = () =>
      turns.live(100, async () => {
        now += 2;
      });
    for (let i = 0; i < 10; i++) {
      await live();
      const turn = await share.take(never);
      await live();
      turn.done(1);
    }
    expect(now).toBe(40);
  });
});

describe('the disturbance of main lanes', () => {
  it('is nothing as long as one side is not known, or they are alike', () => {
    const found = new Disturbance();
    found.note(10, true);
    expect(found.factor).toBe(0);
    found.note(10, false);
    expect(found.factor).toBe(0);
  });

  it('is what they take longer, and bounded', () => {
    const found = new Disturbance();
    for (let i = 0; i < 500; i++) {
      found.note(10, false);
      found.note(22, true);
    }
    expect(found.factor).toBeCloseTo(1, 1);
    for (let i = 0; i < 500; i++) found.note(1000, true);
    expect(found.factor).toBe(3);
  });
});
