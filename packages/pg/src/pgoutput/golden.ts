/**
 * Messages as PostgreSQL 18.4 sent them (pgoutput, protocol 4, binary, messages on, origin any), for tests of whoever
 * reads pgoutput. Table g1: id int4 primary key, m mood (an enum), big text, n int4; g2: a int4, b text, replica identity full.
 */
const hex = (text: string) => Buffer.from(text, 'hex');

export const GOLDEN = {
  begin: hex('420000000001d6a310000303c0d7e57efb0000030a'),
  type: hex('590000400f7075626c6963006d6f6f6400'),
  relationDefault: hex(
    '52000040137075626c6963006731006400040169640000000017ffffffff006d000000400fffffffff006269670000000019ffffffff006e0000000017ffffffff',
  ),
  relationFull: hex('520000401b7075626c69630067320066000201610000000017ffffffff01620000000019ffffffff'),
  /** (1, 'sad', 2500 times x, null) */
  insert: hex(`49000040134e0004620000000400000001620000000373616462000009c4${'78'.repeat(2500)}6e`),
  insertFull: hex('490000401b4e00026200000004000000026200000002c3a9'),
  /** n = -5; the key stays, big is unchanged TOAST. */
  update: hex('55000040134e00046200000004000000016200000003736164756200000004fffffffb'),
  /** id 1 becomes 2. */
  updateKey: hex(
    '55000040134b00046200000004000000016e6e6e4e00046200000004000000026200000003736164756200000004fffffffb',
  ),
  /** b 'é' becomes 'z'. */
  updateFull: hex('550000401b4f00026200000004000000026200000002c3a94e000262000000040000000262000000017a'),
  deleteKey: hex('44000040134b00046200000004000000026e6e6e'),
  deleteFull: hex('440000401b4f00026200000004000000016e'),
  /** TRUNCATE g1, g2 RESTART IDENTITY CASCADE */
  truncate: hex('540000000203000040130000401b'),
  message: hex(
    '4d010000000001d6a31064726f7665722e6261727269657200000000177b2274656e616e74223a2274222c226964223a2231227d',
  ),
  /** Not transactional, content 00 ff. */
  messageAlone: hex('4d000000000001d6a5906e6f7465000000000200ff'),
  origin: hex('4f0000000000abcdef6661725f3100'),
  commit: hex('43000000000001d6a3100000000001d6a550000303c0d7e57efb'),
} as const satisfies Record<string, Buffer>;

/**
 * A transaction in progress, as PostgreSQL 16.14 and 18.4 sent it (protocol 2, streaming on): table g1 (id int4 primary key, big text). Insert 1;
 * savepoint, insert 2, a message, rolled back; update 1; commit. All but the abort and the commit stand between a start and a stop.
 */
export const STREAMED = {
  start: hex('53000002dd01'),
  relation: hex(
    '52000002dd000040017075626c6963006731006400020169640000000017ffffffff006269670000000019ffffffff',
  ),
  insert: hex('49000002dd000040014e0002620000000400000001620000000161'),
  insertInner: hex('49000002de000040014e0002620000000400000002620000000162'),
  message: hex('4d000002dd0100000000014e3c006e6f7465000000000178'),
  stop: hex('45'),
  abortInner: hex('41000002dd000002de'),
  restart: hex('53000002dd00'),
  updateAfter: hex('55000002df000040014e0002620000000400000001620000000163'),
  deleteAfter: hex('44000002df000040014b00026200000004000000016e'),
  truncateAfter: hex('54000002df000000010000004001'),
  commit: hex('63000002dd0000000000014e485000000000014e49c8000303c691838106'),
  /** Of a whole transaction; with streaming parallel, which adds where and when. */
  abortAll: hex('41000002dd000002dd00000000014e3c28000303c69183791c'),
} as const satisfies Record<string, Buffer>;
