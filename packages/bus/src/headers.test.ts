import { LSN_MAX, LSN_ZERO } from '@drover/core';
import { describe, expect, it } from 'vitest';
import { at } from './bus.testing.ts';
import {
  formatGroup,
  formatLast,
  messageId,
  parseChunk,
  parseGroup,
  parseLast,
  parseMessageId,
} from './headers.ts';

describe('the group header', () => {
  it.each([
    [1, LSN_ZERO, '1;0/0'],
    [9_007_199_254_740_991, LSN_MAX, '9007199254740991;FFFFFFFF/FFFFFFFF'],
    [70, at(0x1_0000_000a), '70;1/A'],
  ])('of %i and %i reads %s', (firstSeq, safeLsn, text) => {
    expect(formatGroup(firstSeq, safeLsn)).toBe(text);
    expect(parseGroup(text)).toEqual({ firstSeq, safeLsn });
  });

  it.each(['', '7', 'x;0/0', '-1;0/0', '7;', '7;x', '7;0/0;1', '99999999999999999;0/0'])(
    'is not %j',
    (text) => expect(parseGroup(text)).toBeUndefined(),
  );
});

describe('the mark header', () => {
  it.each([
    [at(7), 0, true, '0/7;0;1'],
    [LSN_MAX, 12, false, 'FFFFFFFF/FFFFFFFF;12;0'],
  ])('of %i, %i, %s reads %s', (lastLsn, part, complete, text) => {
    expect(formatLast(lastLsn, part, complete)).toBe(text);
    expect(parseLast(text)).toEqual({ lastLsn, part, complete });
  });

  it.each(['', '0/7;0', '0/7;0;2', 'x;0;1', '0/7;x;1', '0/7;-1;1', '0/7;0;1;1'])('is not %j', (text) =>
    expect(parseLast(text)).toBeUndefined(),
  );
});

describe('the chunk header', () => {
  it('counts from 0', () => {
    expect(parseChunk('0/3')).toEqual({ index: 0, count: 3 });
    expect(parseChunk('2/3')).toEqual({ index: 2, count: 3 });
  });

  it.each(['', '3/3', '1', '-1/3', '1/3/5'])('is not %j', (text) => expect(parseChunk(text)).toBeUndefined());
});

describe('a message id', () => {
  it('tells where its LSNs can be compared', () => {
    const block = '7300.2.acme.1a.0';
    expect(parseMessageId(block)).toEqual({
      systemId: '7300',
      generation: 2,
      origin: '7300.2.',
      database: '',
    });
    expect(parseMessageId(messageId(block, 0, 9, 'abc'))).toEqual(parseMessageId(block));
    const named = `${block}.shop`;
    expect(parseMessageId(named)).toMatchObject({ origin: '7300.2.shop', database: 'shop' });
    expect(parseMessageId(messageId(named, 3, 9, 'abc'))).toEqual(parseMessageId(named));
  });

  it('differs by chunk, place and publisher', () => {
    const ids = [
      messageId('b', 0, 1, 'p'),
      messageId('b', 1, 1, 'p'),
      messageId('b', 0, 2, 'p'),
      messageId('b', 0, 1, 'q'),
    ];
    expect(new Set(ids).size).toBe(4);
  });

  it.each(['', 'x', 'x.y', 'fence.0@3.abc'])('is not %j', (text) =>
    expect(parseMessageId(text)).toBeUndefined(),
  );
});
