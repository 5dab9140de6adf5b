/**
 * Whatever a source does, in whatever stretches its transactions come (or as wholes), whether they wait for their commit, leave midway or go on as
 * they come, and wherever readers die: who reads the stream comes to each tenant's committed rows and barriers, each once, in commit order
 * (I1, I2, I3; pitfalls 49, 50, 51).
 */
import { readHeader } from '@drover/block';
import { LSN_ZERO, type Lsn } from '@drover/core';
import { BARRIER_PREFIX } from '@drover/pg';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Assembler } from './assembler.ts';
import { EpochMap } from './epoch-map.ts';
import { Lane } from './lane.ts';
import { type Mark, Marks } from './marks.ts';
import type { Outgoing } from './outgoing.ts';
import { ITEMS, tuple } from './source-script.testing.ts';
import { NotStreamed } from './streamed.ts';
import { type Rows, rowsOfStream } from './streamed-reader.testing.ts';
import { IDENTITY, TAGGING } from './streamed-script.testing.ts';
import { WaitingTransactions } from './waiting.ts';
import * as wal from './wal-messages.testing.ts';

const TENANTS = ['acme', 'bolt', 'coil'];

interface Change {
  /** `else`: what nobody is told of. */
  readonly kind: 'row' | 'barrier' | 'else';
  readonly xid: number;
  readonly sub: number;
  readonly tenant: string;
  /** Of its bytes: some fill what may wait. */
  readonly size: number;
}

/** What the source does, in the order of its WAL. The LSN of an event is its place. */
type Event =
  | Change
  | { readonly kind: 'rollback'; readonly xid: number; readonly sub: number }
  | { readonly kind: 'commit' | 'abort'; readonly xid: number };

const subxid = (xid: number, sub: number): number => (sub === 0 ? xid : xid * 100 + sub);

/** Three sessions, each with one transaction after the other. */
const events = fc
  .array(
    fc.record({
      session: fc.nat({ max: 2 }),
      what: fc.oneof(
        { weight: 10, arbitrary: fc.constant('row' as const) },
        { weight: 2, arbitrary: fc.constantFrom('barrier', 'else') },
        { weight: 8, arbitrary: fc.constantFrom('savepoint', 'rollback', 'commit', 'abort') },
      ),
      tenant: fc.constantFrom(...TENANTS),
      size: fc.constantFrom(20, 20, 3_000),
    }),
    { minLength: 5, maxLength: 60 },
  )
  .map((picks): Event[] => {
    const out: Event[] = [];
    const at = [0, 1, 2].map((session) => ({ xid: session + 1, sub: 0 }));
    const end = (session: number, kind: 'commit' | 'abort'): void => {
      const { xid } = at[session] as { xid: number };
      out.push({ kind, xid });
      at[session] = { xid: xid + 3, sub: 0 };
    };
    for (const { session, what, tenant, size } of picks) {
      const now = at[session] as { xid: number; sub: number };
      if (what === 'row' || what === 'barrier' || what === 'else')
        out.push({ kind: what, tenant, size, ...now });
      else if (what === 'savepoint') now.sub++;
      else if (what === 'commit' || what === 'abort') end(session, what);
      else if (now.sub > 0) {
        out.push({ kind: 'rollback', ...now });
        now.sub++; // never used again
      }
    }
    for (const session of [0, 1, 2]) end(session, 'commit');
    return out;
  });

const isChange = (event: Event | undefined): event is Change =>
  event?.kind === 'row' || event?.kind === 'barrier' || event?.kind === 'else';

/** Of the source, for each tenant: rows and barriers by their place in the WAL, in the order of commits. */
function truth(script: readonly Event[]): Rows {
  const rows: Rows = {};
  script.forEach((end) => {
    if (end.kind !== 'commit') return;
    for (const [i, row] of script.entries()) {
      if (isChange(row) && row.kind !== 'else' && row.xid === end.xid && !isRolledBack(script, row))
        rows[row.tenant] = [...(rows[row.tenant] ?? []), i];
    }
  });
  return rows;
}

const isRolledBack = (script: readonly Event[], row: Change): boolean =>
  script.some((e) => e.kind === 'rollback' && e.xid === row.xid && e.sub === row.sub);

/**
 * How one reading of the source goes: all by these numbers, taken in turn. It dies at that event, and of what it has published so many of the
 * newest messages are lost.
 */
const plans = fc.array(
  fc.record({
    dice: fc.array(fc.nat({ max: 99 }), { minLength: 1, maxLength: 40 }),
    diesAt: fc.nat({ max: 70 }),
    lost: fc.nat({ max: 12 }),
  }),
  { maxLength: 4 },
);

interface Stored extends Outgoing {
  readonly safeLsn: Lsn;
}

class Reading {
  readonly stored: Stored[] = [];
  readonly #script: readonly Event[];
  readonly #lane: Lane;
  readonly #to: WaitingTransactions;
  readonly #assembler: Assembler;
  readonly #dice: readonly number[];
  readonly #plainUntil: Lsn;
  /** Rows of each transaction that the source has not sent yet, and the transactions of which it has sent some. */
  readonly #buffered = new Map<number, number[]>();
  readonly #begun = new Set<number>();
  #throws = 0;

  constructor(
    script: readonly Event[],
    attempt: string,
    before: readonly Stored[],
    how: { dice: readonly number[]; plainUntil: Lsn },
  ) {
    this.#script = script;
    this.#dice = how.dice;
    this.#plainUntil = how.plainUntil;
    this.#lane = new Lane(0, IDENTITY, marksOf(before));
    this.#lane.assigned = () => before.length + this.stored.length;
    this.#assembler = new Assembler({
      lanes: [this.#lane],
      epochs: new EpochMap(),
      plan: { tagging: TAGGING, database: 'app', types: new Map() },
      partBytes: 150,
      leastBytes: [0, 80][(how.dice[1] ?? 0) % 2] ?? 0,
      fewTenants: (how.dice[0] ?? 0) % 2 === 0 ? 1 : 16, // pieces of more than one tenant are collected, or none are
      attempt,
      events: { onCut: () => this.#flush(), onUnassigned: () => {} },
    });
    this.#assembler.relation(ITEMS.oid, ITEMS);
    const bytesMax = [0, 8_192, 1_000_000][(how.dice[2] ?? 0) % 3];
    this.#to = new WaitingTransactions(
      this.#assembler,
      bytesMax ?? 0,
      (how.dice[3] ?? 0) % 2 === 0 ? 10_000 : 1_000_000,
    );
  }

  /** @throws NotStreamed */
  run(until: number): void {
    for (const [i, event] of this.#script.slice(0, until).entries()) {
      if (isChange(event)) this.#change(event.xid, i);
      else if (event.kind === 'rollback') this.#rollback(event.xid, event.sub);
      else this.#end(event.xid, event.kind, BigInt(i + 1) as Lsn);
      if (this.#roll() < 30) this.#flush();
    }
    this.#flush();
  }

  #change(xid: number, i: number): void {
    const rows = this.#buffered.get(xid) ?? [];
    this.#buffered.set(xid, rows);
    rows.push(i);
    // While the source is read without streaming, all comes whole.
    if (this.#roll() < 40 && this.#plainUntil === LSN_ZERO) this.#stretch(xid);
  }

  #stretch(xid: number): void {
    this.#come(wal.START(xid));
    if (!this.#begun.has(xid)) this.#come(wal.RELATION_OF(xid, ITEMS));
    this.#begun.add(xid);
    for (const i of this.#take(xid)) this.#come(this.#message(i, true));
    this.#come(wal.STOP);
  }

  #rollback(xid: number, sub: number): void {
    this.#buffered.set(
      xid,
      (this.#buffered.get(xid) ?? []).filter((i) => this.#changeAt(i).sub !== sub),
    );
    if (this.#begun.has(xid)) this.#come(wal.ABORT(xid, subxid(xid, sub)));
  }

  #end(xid: number, kind: 'commit' | 'abort', lsn: Lsn): void {
    if (this.#begun.has(xid) && kind === 'abort') this.#come(wal.ABORT(xid, xid));
    else if (this.#begun.has(xid)) {
      if ((this.#buffered.get(xid) ?? []).length > 0) this.#stretch(xid);
      this.#come(wal.COMMIT(xid, lsn));
    } else if (kind === 'commit') {
      this.#come(wal.BEGIN(xid, lsn));
      for (const i of this.#take(xid)) this.#come(this.#message(i, false));
      this.#come(wal.END(lsn));
    }
    this.#buffered.delete(xid);
  }

  /** As PostgreSQL says it: of a row in a stretch its subtransaction, of a message only the transaction. */
  #message(i: number, inStretch: boolean): Buffer {
    const { kind, xid, sub, tenant, size } = this.#changeAt(i);
    if (kind === 'barrier')
      return wal.MESSAGE(inStretch ? xid : null, BARRIER_PREFIX, JSON.stringify({ tenant, id: String(i) }));
    if (kind === 'else') return wal.MESSAGE(inStretch ? xid : null, 'app', 'x'.repeat(size));
    const row = tuple(String(i), tenant, 'x'.repeat(size));
    return wal.INSERT_INTO(inStretch ? subxid(xid, sub) : null, ITEMS.oid, row);
  }

  #come(message: Buffer): void {
    wal.come(this.#to, message);
  }

  #take(xid: number): number[] {
    const rows = this.#buffered.get(xid) ?? [];
    this.#buffered.set(xid, []);
    return rows;
  }

  #changeAt(i: number): Change {
    const change = this.#script[i];
    if (!isChange(change)) throw new Error(`no change at ${i}`);
    return change;
  }

  #roll(): number {
    return this.#dice[this.#throws++ % this.#dice.length] ?? 0;
  }

  #flush(): void {
    const group = this.#lane.takeGroup(this.#assembler.lastCommit);
    if (group === null) return;
    this.stored.push(...group.messages.map((message) => ({ ...message, safeLsn: group.safeLsn })));
  }
}

/** As the bus finds them. */
function marksOf(stream: readonly Stored[]): Marks {
  const perTenant = new Map<string, Mark>();
  for (const { token, lastLsn, part, complete } of stream) perTenant.set(token, { lastLsn, part, complete });
  return new Marks(stream.at(-1)?.safeLsn ?? LSN_ZERO, perTenant);
}

describe('transactions in progress', () => {
  it('come out as the source committed them', () => {
    fc.assert(
      fc.property(events, plans, (script, lives) => {
        const stream: Stored[] = [];
        let plainUntil = LSN_ZERO;
        let attempt = 0;
        const last = { dice: [50, 10, 35], diesAt: script.length, lost: 0 };
        const todo = [...lives, last];
        for (let life = todo.shift(); life !== undefined; life = todo.shift()) {
          const reading = new Reading(script, `r${attempt++}`, stream, { dice: life.dice, plainUntil });
          plainUntil = LSN_ZERO;
          try {
            reading.run(Math.min(life.diesAt, script.length));
          } catch (error) {
            if (!(error instanceof NotStreamed)) throw error;
            plainUntil = error.until ?? LSN_ZERO;
            todo.unshift(life);
          }
          const kept = life === last ? reading.stored.length : Math.max(0, reading.stored.length - life.lost);
          stream.push(...reading.stored.slice(0, kept));
        }
        const blocks = stream.map(({ token, block }) => ({ token, block, header: readHeader(block) }));
        expect(rowsOfStream(blocks)).toEqual(truth(script));
      }),
      { numRuns: 500 },
    );
  });
});
