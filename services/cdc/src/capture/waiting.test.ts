/** Transactions in progress that wait for their commit, message by message as PostgreSQL sends them (manual, 54.9). */
import type { Relation } from '@drover/block';
import type { Lsn } from '@drover/core';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { ITEMS, tuple } from './source-script.testing.ts';
import { NotStreamed } from './streamed.ts';
import { StreamedScript } from './streamed-script.testing.ts';
import { WaitingTransactions, type WalVisitor } from './waiting.ts';
import * as wal from './wal-messages.testing.ts';

const { ABORT, BEGIN, bytes, COMMIT, END, INSERT_INTO, MESSAGE, RELATION_OF, START, STOP } = wal;

/** What whoever stands behind is told, in short; rows by their first column. */
class Told implements WalVisitor {
  readonly words: string[] = [];
  inStream = false;
  #of = '';

  begin(lsn: Lsn, _: bigint, xid: number): void {
    this.words.push(`begin ${xid} at ${lsn}`);
  }
  commit(lsn: Lsn): void {
    this.words.push(`commit at ${lsn}`);
  }
  relation(oid: number, { name }: Relation): void {
    this.words.push(`relation ${oid} ${name}`);
  }
  type(): void {}
  insert(_: number, start: number, __: number, bytes: Buffer): void {
    const length = bytes.readUInt32BE(start + 3);
    this.words.push(
      `+${bytes.toString('utf8', start + 7, start + 7 + length)}${this.inStream ? this.#of : ''}`,
    );
  }
  update(): void {}
  delete(): void {}
  truncate(): void {}
  message(_: boolean, __: Lsn, prefix: string): void {
    this.words.push(prefix);
  }
  origin(): void {}
  streamStart(xid: number): void {
    this.inStream = true;
    this.words.push(`start ${xid}`);
  }
  streamStop(): void {
    this.inStream = false;
    this.words.push('stop');
  }
  streamChange(xid: number): void {
    this.#of = ` of ${xid}`;
  }
  streamCommit(xid: number, lsn: Lsn): void {
    this.words.push(`streamed ${xid} at ${lsn}`);
  }
  streamAbort(xid: number, subxid: number): void {
    this.words.push(`abort ${xid} ${subxid}`);
  }
}

const INSERT = (xid: number | null, text: string) => INSERT_INTO(xid, 100, tuple(text));
const items = (name: string) => ({ ...ITEMS, name, columns: [] });
const RELATION = (xid: number | null, name = 'items') => RELATION_OF(xid, items(name));

let told: Told;
let waiting: WaitingTransactions;

function reader(bytesMax = 1_000_000, keptMax = 32_000_000): void {
  told = new Told();
  waiting = new WaitingTransactions(told, bytesMax, keptMax);
}
beforeEach(() => reader());

const come = (...messages: readonly Buffer[]): void => wal.come(waiting, ...messages);

describe('a small transaction in progress', () => {
  it('is read at its commit, as one that came whole, and others go ahead of it', () => {
    come(START(9), RELATION(9), INSERT(9, 'a'), STOP);
    come(BEGIN(5, 40), INSERT(null, 'first'), END(40));
    come(START(9), INSERT(9, 'b'), MESSAGE(9, 'drover.ddl'), STOP);
    expect(told.words).toEqual(['begin 5 at 40', '+first', 'commit at 40']);
    come(COMMIT(9, 50));
    expect(told.words.slice(3)).toEqual([
      'begin 9 at 50',
      'relation 100 items',
      '+a',
      '+b',
      'drover.ddl',
      'commit at 50',
    ]);
    expect(waiting.keptBytes).toBe(0);
  });

  it('leaves nothing when it is rolled back', () => {
    come(START(9), INSERT(9, 'a'), STOP, ABORT(9, 9));
    expect(told.words).toEqual([]);
    expect(waiting.keptBytes).toBe(0);
    come(START(9), INSERT(9, 'b'), STOP, COMMIT(9, 50)); // xids come again
    expect(told.words).toEqual(['begin 9 at 50', '+b', 'commit at 50']);
  });

  it('is without what its subtransactions rolled back, but for what tables are', () => {
    come(START(9), INSERT(9, 'a'), RELATION(10), INSERT(10, 'b'), INSERT(11, 'c'), INSERT(9, 'd'), STOP);
    come(ABORT(9, 10));
    come(START(9), INSERT(12, 'e'), STOP, COMMIT(9, 50));
    expect(told.words).toEqual([
      'begin 9 at 50',
      '+a',
      'relation 100 items',
      '+c',
      '+d',
      '+e',
      'commit at 50',
    ]);
  });

  it('is asked for again where a message of ours may have been rolled back', () => {
    come(START(9), INSERT(10, 'a'), MESSAGE(9, 'drover.ddl'), STOP, ABORT(9, 10));
    expect(() => come(COMMIT(9, 50))).toThrow(expect.objectContaining({ until: 50n }));
    expect(() => come(COMMIT(9, 50))).toThrow(NotStreamed);
    expect(told.words).toEqual([]);
  });

  it('is not, where the message came behind what was rolled back', () => {
    come(
      START(9),
      INSERT(10, 'a'),
      STOP,
      ABORT(9, 10),
      START(9),
      MESSAGE(9, 'drover.ddl'),
      STOP,
      COMMIT(9, 50),
    );
    expect(told.words).toEqual(['begin 9 at 50', 'drover.ddl', 'commit at 50']);
  });

  it('is not, where the message is somebody else’s', () => {
    come(
      START(9),
      INSERT(10, 'a'),
      MESSAGE(9, 'droverlike'),
      INSERT(9, 'b'),
      STOP,
      ABORT(9, 10),
      COMMIT(9, 50),
    );
    expect(told.words).toEqual(['begin 9 at 50', 'droverlike', '+b', 'commit at 50']);
  });

  it('is refused where it is damaged', () => {
    come(START(9), bytes('I'), STOP);
    expect(() => come(COMMIT(9, 50))).toThrow(expect.objectContaining({ code: 'pg.stream' }));
    reader();
    come(START(9), INSERT(10, 'a'), bytes('I', '\0\0'), STOP, ABORT(9, 10));
    expect(() => come(COMMIT(9, 50))).toThrow(expect.objectContaining({ code: 'pg.stream' }));
    expect(() => come(bytes('c', '\0'))).toThrow(expect.objectContaining({ code: 'pg.stream' }));
  });
});

describe('a transaction in progress that outgrows what one may have', () => {
  const large = 'x'.repeat(20_000);

  it('goes on as it comes, from its beginning and without what is void already', () => {
    reader(20_000);
    come(START(9), INSERT(9, 'a'), INSERT(10, 'b'), STOP, ABORT(9, 10));
    expect(told.words).toEqual([]);
    come(START(9), INSERT(9, large), INSERT(11, 'c'), STOP);
    expect(told.words).toEqual(['start 9', '+a of 9', `+${large} of 9`, '+c of 11', 'stop']);
    expect(waiting.keptBytes).toBe(0);
    come(START(9), INSERT(9, 'd'), STOP, ABORT(9, 11), COMMIT(9, 50));
    expect(told.words.slice(5)).toEqual(['start 9', '+d of 9', 'stop', 'abort 9 11', 'streamed 9 at 50']);
    come(START(9), INSERT(9, 'e'), STOP, COMMIT(9, 60));
    expect(told.words.slice(10)).toEqual(['begin 9 at 60', '+e', 'commit at 60']);
  });

  it('is forgotten when it is rolled back', () => {
    reader(20_000);
    come(START(9), INSERT(9, large), STOP, ABORT(9, 9));
    expect(told.words.slice(2)).toEqual(['stop', 'abort 9 9']);
    come(START(9), INSERT(9, 'e'), STOP, COMMIT(9, 60));
    expect(told.words.slice(4)).toEqual(['begin 9 at 60', '+e', 'commit at 60']);
  });

  it('or all of them: then the largest goes on', () => {
    reader(1_000_000, 140_000);
    come(START(8), INSERT(8, large), INSERT(8, large), INSERT(8, large), INSERT(8, large), STOP);
    expect(told.words).toEqual([]);
    come(START(9), INSERT(9, 'a'), STOP);
    expect(told.words).toEqual([]);
    come(START(10), INSERT(10, 'b'), STOP);
    expect(told.words).toEqual(['start 8', ...Array<string>(4).fill(`+${large} of 8`), 'stop']);
    come(COMMIT(9, 50), COMMIT(8, 51));
    expect(told.words.slice(6)).toEqual(['begin 9 at 50', '+a', 'commit at 50', 'streamed 8 at 51']);
  });

  it('says of what was rolled back, where a message of ours may have been of it', () => {
    reader(20_000);
    come(START(9), MESSAGE(9, 'drover.ddl'), STOP, ABORT(9, 10), START(9), INSERT(9, large), STOP);
    expect(told.words).toEqual(['start 9', 'drover.ddl', 'abort 9 10', `+${large} of 9`, 'stop']);
  });

  it('is asked for again then, also when no row of it was captured', () => {
    waiting = new WaitingTransactions(new StreamedScript('first').to, 20_000, 1_000_000);
    come(START(9), MESSAGE(9, 'drover.barrier', '{"tenant":"acme","id":"b"}'), STOP, ABORT(9, 10));
    come(START(9), MESSAGE(9, 'app', large), STOP);
    expect(() => come(COMMIT(9, 50))).toThrow(NotStreamed);
  });

  it('is not copied when one message is too large', () => {
    reader(20_000);
    come(START(9), INSERT(9, 'y'.repeat(500_000)));
    expect(waiting.keptBytes).toBe(0);
    expect(told.words.length).toBe(2);
  });
});

describe('what a table is', () => {
  /** Two transactions, of which the one that was told first had been told what is old. */
  const saidInTurn = (...rows: readonly Buffer[]): void =>
    come(START(8), RELATION(8, 'old'), STOP, START(9), RELATION(9, 'new'), ...rows, STOP);
  const lastSaid = (): string | undefined => told.words.filter((word) => word.startsWith('relation')).at(-1);

  it('is what was said last, not what a transaction that waited had been told', () => {
    come(START(9), RELATION(9, 'old'), INSERT(10, 'a'), STOP, ABORT(9, 10));
    come(RELATION(null, 'new'));
    come(COMMIT(9, 50));
    expect(told.words).toEqual([
      'relation 100 new',
      'begin 9 at 50',
      'relation 100 old',
      'commit at 50',
      'relation 100 new',
    ]);
  });

  it('also where another one that waited has said it', () => {
    saidInTurn();
    come(COMMIT(9, 50), COMMIT(8, 51));
    expect(lastSaid()).toBe('relation 100 new');
  });

  it('though what was told before is said once more between', () => {
    come(START(9), RELATION(9, 'old'), STOP, RELATION(null, 'new'), START(8), RELATION(8, 'new'), STOP);
    come(COMMIT(9, 50), COMMIT(8, 51));
    expect(lastSaid()).toBe('relation 100 new');
  });

  it('also behind a transaction that has left', () => {
    reader(20_000);
    come(START(9), RELATION(9, 'old'), INSERT(9, 'y'.repeat(30_000)), STOP, RELATION(null, 'new'));
    come(START(9), INSERT(9, 'a'), STOP, COMMIT(9, 50));
    expect(told.words.slice(-2)).toEqual(['streamed 9 at 50', 'relation 100 new']);
    saidInTurn(INSERT(9, 'y'.repeat(30_000)));
    come(COMMIT(9, 60), COMMIT(8, 61));
    expect(lastSaid()).toBe('relation 100 new');
  });

  it('and what the transaction itself was told later is newer still', () => {
    come(START(9), RELATION(9, 'old'), STOP, RELATION(null, 'new'), START(9), RELATION(9, 'newest'), STOP);
    come(COMMIT(9, 50));
    expect(told.words.slice(-2)).toEqual(['relation 100 newest', 'commit at 50']);
  });
});

describe('whatever comes', () => {
  const sizes = fc.constantFrom(1, 30, 9_000, 70_000, 200_000);
  const steps = fc.array(
    fc.record({
      session: fc.nat({ max: 2 }),
      what: fc.constantFrom(
        'row',
        'row',
        'row',
        'row',
        'savepoint',
        'rollback',
        'stretch',
        'commit',
        'abort',
      ),
      size: sizes,
    }),
    { minLength: 5, maxLength: 60 },
  );

  it('is what has committed, in order, each row once, and no more is kept than may be', () => {
    fc.assert(
      fc.property(steps, fc.constantFrom(1, 20_000, 150_000, 1_000_000), (script, bytesMax) => {
        reader(bytesMax, 400_000);
        const rows = new Map<number, { readonly name: string; readonly subxid: number }[]>();
        const truth: string[] = [];
        const at = [0, 1, 2].map((session) => ({ xid: 10 + session, sub: 0, open: false }));
        const stop = (): void => {
          const open = at.find((session) => session.open);
          if (open === undefined) return;
          open.open = false;
          come(STOP);
        };
        let lsn = 1;
        for (const [i, { session, what, size }] of script.entries()) {
          const now = at[session] as (typeof at)[number];
          const mine = rows.get(now.xid) ?? [];
          rows.set(now.xid, mine);
          const subxid = now.sub === 0 ? now.xid : now.xid * 1000 + now.sub;
          if (what === 'row') {
            if (!now.open) {
              stop();
              come(START(now.xid));
              now.open = true;
            }
            const name = `${i}`.padEnd(size, '.');
            mine.push({ name, subxid });
            come(INSERT(subxid, name));
          } else if (what === 'savepoint') now.sub++;
          else if (what === 'stretch') stop();
          else if (what === 'rollback' && now.sub > 0) {
            stop();
            if (mine.some((one) => one.subxid === subxid)) come(ABORT(now.xid, subxid));
            rows.set(
              now.xid,
              mine.filter((one) => one.subxid !== subxid),
            );
            now.sub++;
          } else if (what === 'commit' || what === 'abort') {
            stop();
            lsn += 10;
            if (mine.length > 0 && what === 'commit') {
              come(COMMIT(now.xid, lsn));
              truth.push(...mine.map(({ name }) => name));
            } else if (mine.length > 0) come(ABORT(now.xid, now.xid));
            now.xid += 3;
            now.sub = 0;
          }
          expect(waiting.keptBytes).toBeLessThanOrEqual(
            400_000 + (at.some(({ open }) => open) ? 400_000 : 0),
          );
        }
        expect(committed(told.words)).toEqual(truth);
      }),
      { numRuns: 200 },
    );
  });
});

/** Rows as what was told makes them, in the order of commits. */
function committed(words: readonly string[]): string[] {
  const open = new Map<number, { name: string; of: number }[]>();
  const out: string[] = [];
  let streaming = 0;
  for (const word of words) {
    const [head = '', a, b] = word.split(' ');
    if (head === 'start') streaming = Number(a);
    else if (head === 'stop') streaming = 0;
    else if (head.startsWith('+') && streaming === 0) out.push(head.slice(1));
    else if (head.startsWith('+'))
      open.set(streaming, [...(open.get(streaming) ?? []), { name: head.slice(1), of: Number(b) }]);
    else if (head === 'abort' && a === b) open.delete(Number(a));
    else if (head === 'abort')
      open.set(
        Number(a),
        (open.get(Number(a)) ?? []).filter(({ of }) => of !== Number(b)),
      );
    else if (head === 'streamed') {
      out.push(...(open.get(Number(a)) ?? []).map(({ name }) => name));
      open.delete(Number(a));
    }
  }
  return out;
}

it('a log of messages gives back what it was given, of any size', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(0, 1, 100, 8188, 8189, 65_532, 65_533, 300_000)), (sizes) => {
      reader(Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
      come(START(9), ...sizes.map((size, i) => INSERT(9, `${i}`.padEnd(size, '.'))), STOP, COMMIT(9, 50));
      expect(told.words).toEqual([
        'begin 9 at 50',
        ...sizes.map((size, i) => `+${`${i}`.padEnd(size, '.')}`),
        'commit at 50',
      ]);
    }),
    { numRuns: 50 },
  );
});
