import { setImmediate } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { UpdateTurns } from './update-turns.ts';

it('admits one that works and one that waits at the server, the others in their order', async () => {
  const turns = new UpdateTurns(0);
  const came: number[] = [];
  const leave: (() => void)[] = [];
  for (let i = 0; i < 5; i++) {
    void turns.enter().then((done) => {
      came.push(i);
      leave[i] = done;
    });
  }
  await setImmediate();
  expect(came).toEqual([0, 1]);
  leave[1]?.();
  leave[1]?.(); // once
  await setImmediate();
  expect(came).toEqual([0, 1, 2]);
  for (let i = 0; i < 5; i++) {
    leave[i]?.();
    await setImmediate();
  }
  expect(came).toEqual([0, 1, 2, 3, 4]);
  const [first, second] = [await turns.enter(), await turns.enter()];
  const third = turns.enter();
  await expect(Promise.race([third, setImmediate('waits')])).resolves.toBe('waits');
  first();
  second();
  (await third)();
});
