import { DroverError } from '@drover/core';
import { describe, expect, test } from 'vitest';
import { GOLDEN, STREAMED } from './golden.ts';
import { parsePgoutput } from './parse.ts';
import { recorder } from './recorder.ts';

const G1 = 0x4013;
const G2 = 0x401b;
const TIME = BigInt('0x000303c0d7e57efb');
const column = (name: string, typeOid: number, key = false) => ({ name, typeOid, typmod: -1, key });

const EXPECTED: Record<keyof typeof GOLDEN, unknown[]> = {
  begin: ['begin', '0/1D6A310', TIME, 778],
  type: ['type', 0x400f, 'public', 'mood'],
  relationDefault: [
    'relation',
    G1,
    {
      oid: G1,
      schema: 'public',
      name: 'g1',
      identity: 'd',
      columns: [column('id', 23, true), column('m', 0x400f), column('big', 25), column('n', 23)],
    },
  ],
  relationFull: [
    'relation',
    G2,
    {
      oid: G2,
      schema: 'public',
      name: 'g2',
      identity: 'f',
      columns: [column('a', 23, true), column('b', 25, true)],
    },
  ],
  insert: ['insert', G1, ['b:00000001', 'b:736164', `b:${'78'.repeat(2500)}`, 'n']],
  insertFull: ['insert', G2, ['b:00000002', 'b:c3a9']],
  update: ['update', G1, null, null, ['b:00000001', 'b:736164', 'u', 'b:fffffffb']],
  updateKey: [
    'update',
    G1,
    'K',
    ['b:00000001', 'n', 'n', 'n'],
    ['b:00000002', 'b:736164', 'u', 'b:fffffffb'],
  ],
  updateFull: ['update', G2, 'O', ['b:00000002', 'b:c3a9'], ['b:00000002', 'b:7a']],
  deleteKey: ['delete', G1, 'K', ['b:00000002', 'n', 'n', 'n']],
  deleteFull: ['delete', G2, 'O', ['b:00000001', 'n']],
  truncate: ['truncate', [G1, G2], 3],
  message: [
    'message',
    true,
    '0/1D6A310',
    'drover.barrier',
    Buffer.from('{"tenant":"t","id":"1"}').toString('hex'),
  ],
  messageAlone: ['message', false, '0/1D6A590', 'note', '00ff'],
  origin: ['origin', 'far_1'],
  commit: ['commit', '0/1D6A310', '0/1D6A550', TIME],
};

const names = Object.keys(GOLDEN) as (keyof typeof GOLDEN)[];

describe.each(names)('%s', (name) => {
  test('is read as the server meant it', () => {
    const seen = recorder();
    parsePgoutput(GOLDEN[name], 0, GOLDEN[name].length, seen);
    expect(seen.events).toEqual([EXPECTED[name]]);
  });

  test('is read the same between other bytes', () => {
    const padded = Buffer.concat([Buffer.alloc(7, 0x62), GOLDEN[name], Buffer.alloc(9, 0x6e)]);
    const seen = recorder();
    parsePgoutput(padded, 7, 7 + GOLDEN[name].length, seen);
    expect(seen.events).toEqual([EXPECTED[name]]);
  });

  test('cut short anywhere, it is refused and nothing beyond the cut is read', () => {
    // Behind the cut stand bytes that would make every length and string valid.
    const bytes = Buffer.concat([GOLDEN[name], Buffer.alloc(64)]);
    for (let end = 0; end < GOLDEN[name].length; end += end < 200 ? 1 : 97) {
      expect(() => parsePgoutput(bytes, 0, end, recorder()), `cut at ${end}`).toThrow(DroverError);
    }
  });
});

test.each([
  ['empty', ''],
  ['truncate of 4 billion tables', '54ffffffff00'],
  ['message content longer than the message', '4d010000000001d6a3106100fffffff0'],
  ['relation with a replica identity nobody knows', '52000040136100620078 0000'.replace(' ', '')],
  ['insert without a new row', '49000040134b0000'],
  ['update whose old row is of no kind', '55000040135a0000'],
  ['update whose old row swallows the rest', '55000040134b000162ffffffff004e0000'],
  ['delete of a new row', '44000040134e0000'],
  ['stream start', '5300000001 01'.replace(' ', '')],
  ['stream stop', '45'],
  ['stream commit', '63'],
  ['stream abort', '41'],
  ['a kind nobody knows', '7a'],
])('%s is refused as pg.stream', (_, hex) => {
  const bytes = Buffer.from(hex, 'hex');
  // As whoever has not asked for streaming.
  const { streamStart, streamStop, streamCommit, streamAbort, ...plain } = recorder();
  expect([streamStart, streamStop, streamCommit, streamAbort]).not.toContain(undefined);
  expect(() => parsePgoutput(bytes, 0, bytes.length, plain)).toThrow(
    expect.objectContaining({ code: 'pg.stream' }),
  );
});

test.each(['b', 'P', 'K', 'r', 'p'])('prepared transactions (%s) say what is wrong with the slot', (kind) => {
  const bytes = Buffer.from(kind);
  expect(() => parsePgoutput(bytes, 0, 1, recorder())).toThrow(
    expect.objectContaining({ code: 'pg.not_set_up' }),
  );
});

describe('a transaction in progress', () => {
  const columns = [column('id', 23, true), column('big', 25)];
  const [XID, INNER, AFTER, G] = [0x2dd, 0x2de, 0x2df, 0x4001];
  /** What stands outside of start and stop is marked. */
  const MESSAGES: [keyof typeof STREAMED, boolean, unknown[][]][] = [
    ['start', false, [['streamStart', XID, true]]],
    [
      'relation',
      true,
      [
        ['streamChange', XID],
        ['relation', G, { oid: G, schema: 'public', name: 'g1', identity: 'd', columns }],
      ],
    ],
    [
      'insert',
      true,
      [
        ['streamChange', XID],
        ['insert', G, ['b:00000001', 'b:61']],
      ],
    ],
    [
      'insertInner',
      true,
      [
        ['streamChange', INNER],
        ['insert', G, ['b:00000002', 'b:62']],
      ],
    ],
    [
      'message',
      true,
      [
        ['streamChange', XID],
        ['message', true, '0/14E3C00', 'note', '78'],
      ],
    ],
    ['stop', true, [['streamStop']]],
    ['abortInner', false, [['streamAbort', XID, INNER]]],
    ['restart', false, [['streamStart', XID, false]]],
    [
      'updateAfter',
      true,
      [
        ['streamChange', AFTER],
        ['update', G, null, null, ['b:00000001', 'b:63']],
      ],
    ],
    [
      'deleteAfter',
      true,
      [
        ['streamChange', AFTER],
        ['delete', G, 'K', ['b:00000001', 'n']],
      ],
    ],
    [
      'truncateAfter',
      true,
      [
        ['streamChange', AFTER],
        ['truncate', [G], 0],
      ],
    ],
    ['commit', false, [['streamCommit', XID, '0/14E4850', '0/14E49C8', BigInt('0x000303c691838106')]]],
    ['abortAll', false, [['streamAbort', XID, XID]]],
  ];

  test.each(MESSAGES)('%s is read as the server meant it', (name, inStream, expected) => {
    const seen = recorder();
    const padded = Buffer.concat([Buffer.alloc(3, 0x62), STREAMED[name], Buffer.alloc(9, 0x6e)]);
    parsePgoutput(padded, 3, 3 + STREAMED[name].length, seen, inStream);
    expect(seen.events).toEqual(expected);
  });

  test.each(MESSAGES)('%s cut short anywhere is refused', (name, inStream) => {
    const bytes = Buffer.concat([STREAMED[name], Buffer.alloc(64)]);
    const whole = name === 'abortAll' ? 9 : STREAMED[name].length; // where and when are of no use
    for (let end = 0; end < whole; end++) {
      expect(() => parsePgoutput(bytes, 0, end, recorder(), inStream), `cut at ${end}`).toThrow(DroverError);
    }
  });
});
