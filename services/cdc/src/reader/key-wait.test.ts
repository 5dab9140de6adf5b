import { DroverError, sleep, tenantId } from '@drover/core';
import { describe, expect, it } from 'vitest';
import { keyOf, sealedTenantOf } from './key-wait.ts';

const ACME = tenantId('acme');
const unavailable = (why: string) => new DroverError('key.unavailable', why, { facts: { tenant: ACME } });

describe('a reader that lacks a key', () => {
  it('knows whose', () => {
    expect(sealedTenantOf(unavailable('no'))).toBe(ACME);
    expect(sealedTenantOf(new DroverError('pg.unreachable', 'no', { facts: { tenant: ACME } }))).toBeNull();
    expect(sealedTenantOf(new Error('no'))).toBeNull();
  });

  it('waits until it is there, and tells why it is not, each time that changes', async () => {
    const answers = ['one', 'one', 'two', null];
    const keys = {
      current: () => {
        const why = answers.shift() ?? null;
        if (why !== null) throw unavailable(why);
        return null;
      },
    };
    const told: string[] = [];
    await keyOf(keys, ACME, new AbortController().signal, ({ message }) => told.push(message));
    expect([told, answers]).toEqual([['one', 'two'], []]);
  });

  it('stops waiting when it is stopped, and does not swallow other errors', async () => {
    const stop = new AbortController();
    const never = {
      current: (): never => {
        throw unavailable('no');
      },
    };
    const waiting = keyOf(never, ACME, stop.signal);
    await sleep(20);
    stop.abort();
    await waiting;
    const broken = {
      current: (): never => {
        throw new Error('a bug');
      },
    };
    await expect(keyOf(broken, ACME, new AbortController().signal)).rejects.toThrow('a bug');
  });
});
