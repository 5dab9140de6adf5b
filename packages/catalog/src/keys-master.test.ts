import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DroverError } from '@drover/core';
import { describe, expect, it, vi } from 'vitest';
import { MasterKeys, newMasterKey, parseMasterKeys } from './keys-master.ts';

const refusal = (act: () => unknown): DroverError => {
  try {
    act();
  } catch (error) {
    if (error instanceof DroverError) return error;
  }
  throw new Error('it was not refused');
};

describe('master keys', () => {
  it('are one line a generation, of which the highest wraps', () => {
    const text = `# the old one\n${newMasterKey(1)}\n\n${newMasterKey(12)} # made today\n${newMasterKey(2)}`;
    const keys = new MasterKeys(() => text);
    expect([keys.generations, keys.newest.generation]).toEqual([[1, 2, 12], 12]);
    expect([keys.find(2)?.generation, keys.find(3)]).toEqual([2, null]);
  });

  it('may stand in one line of a variable', () => {
    const env = { KEYS: `${newMasterKey(1)},${newMasterKey(2)}` };
    expect(MasterKeys.at({ env: 'KEYS' }, env)?.generations).toEqual([1, 2]);
    expect(MasterKeys.at({}, env)).toBeNull();
    expect(MasterKeys.at(undefined, env)).toBeNull();
  });

  it.each([
    ['nothing', ''],
    ['only a comment', '# 1:abc'],
    ['no generation', newMasterKey(1).slice(2)],
    ['generation 0', newMasterKey(0)],
    ['a generation beyond 32 bits', newMasterKey(4_294_967_296)],
    ['a key that is too short', `1:${Buffer.alloc(31).toString('base64')}`],
    ['a key that is too long', `1:${Buffer.alloc(33).toString('base64')}`],
    ['no base64', `1:${'!'.repeat(43)}=`],
    ['one generation twice', `${newMasterKey(1)}\n${newMasterKey(1)}`],
  ])('are refused with %s, without showing any', (_, text) => {
    const error = refusal(() => parseMasterKeys(text));
    expect(error.code).toBe('key.master');
    const secret = text.split(':')[1];
    if (secret !== undefined && secret.length > 20)
      expect(`${error.message}${error.hint}`).not.toContain(secret);
  });

  it.each([[{ file: '/nowhere/at/all' }], [{ env: 'NOT_SET' }], [{ file: 'a', env: 'b' }], [{ fle: 'a' }]])(
    'are refused at %j',
    (reference) => {
      expect(refusal(() => MasterKeys.at(reference as Record<string, string>, {})).code).toBe('key.master');
    },
  );

  it('are read again when a generation is asked for that was not there', () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    try {
      const file = join(mkdtempSync(join(tmpdir(), 'drover-test-keys-')), 'keys');
      writeFileSync(file, newMasterKey(1));
      const keys = MasterKeys.at({ file });
      writeFileSync(file, `${newMasterKey(1)}\n${newMasterKey(2)}`);
      expect(keys?.find(2)).toBeNull(); // not for each block that asks
      vi.advanceTimersByTime(2000);
      expect(keys?.find(2)?.generation).toBe(2);
      expect(keys?.newest.generation).toBe(2);
    } finally {
      vi.useRealTimers();
    }
  });

  it('stay when the file has become unreadable', () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    try {
      let text = newMasterKey(1);
      const keys = new MasterKeys(() => text);
      text = 'rubbish';
      vi.advanceTimersByTime(2000);
      expect([keys.find(2), keys.find(1)?.generation]).toEqual([null, 1]);
      expect(warned).toHaveBeenCalledOnce();
    } finally {
      warned.mockRestore();
      vi.useRealTimers();
    }
  });
});
