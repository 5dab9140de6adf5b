import { DroverError } from '@drover/core';
import { describe, expect, it } from 'vitest';
import { errorOf, errorReply, parseReply } from './rpc-wire.ts';

describe('a reply', () => {
  it('keeps what an error says', () => {
    const sent = errorReply(new DroverError('tenant.busy', 'moving', { hint: 'wait', facts: { secret: 1 } }));
    const reply = parseReply(JSON.stringify(sent));
    expect(reply).toEqual({ kind: 'error', code: 'tenant.busy', message: 'moving', hint: 'wait' });
    expect(errorOf(reply as Parameters<typeof errorOf>[0])).toMatchObject({
      code: 'tenant.busy',
      hint: 'wait',
    });
  });

  it('of a newer version’s code is an internal error here', () => {
    for (const code of ['tenant.of_tomorrow', 'constructor', '__proto__']) {
      expect(errorOf({ kind: 'error', code, message: 'm' })).toMatchObject({
        code: 'internal.assertion',
        message: 'm',
      });
    }
  });

  it.each(['', 'x', '1', 'null', '[]', '{}', '{"kind":"other"}', '{"kind":"error"}'])('is not %j', (text) => {
    expect(parseReply(text)).toBeUndefined();
  });
});
