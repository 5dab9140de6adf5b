/**
 * Whatever a source does, in whatever stretches its transactions come (or as wholes), and wherever readers die: who reads the stream comes to
 * each tenant's committed rows, each once, in commit order (I1, I2, I3; pitfalls 49, 50, 51).
 */
import { readHeader } from '@drover/block';
import { LSN_ZERO, type Lsn } from '@drover/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Assembler } from './assembler.ts';
import { EpochMap } from './epoch-map.ts';
import { Lane, type Outgoing } from './lane.ts';
import { type Mark, Marks } from './marks.ts';
import { ITEMS, insert, tuple } from './source-script.testing.ts';
import { NotStreamed } from './streamed.ts';
import { type Rows, rowsOfStream } from './streamed-reader.testing.ts';
import { IDENTITY, TAGGING } from './streamed-script.testing.ts';

const TENANTS = ['acme', 'bolt', 'coil'];

/** What the source does, in the order of its WAL. The LSN of an event is its place. */
type Event =
  | { readonly kind: 'row'; readonly xid: number; readonly sub: number; readonly tenant: string }
  | { readonly kind: 'rollback'; readonly xid: number; readonly sub: number }
  | { readonly kind: 'commit' | 'abort'; readonly xid: number };

const subxid = (xid: number, sub: number): number => (sub === 0 ? xid : xid * 100 + sub);

/** Three sessions, each with one transaction after the other. */
const events = fc
  .array(
    fc.record({
      session: fc.nat({ max: 2 }),
      what: fc.constantFrom('row', 'row', 'row', 'row', 'row', 'savepoint', 'rollback', 'commit', 'abort'),
      tenant: fc.constantFrom(...TENANTS),
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
    for (const { session, what, tenant } of picks) {
      const now = at[session] as { xid: number; sub: number };
      if (what === 'row') out.push({ kind: 'row', tenant, ...now });
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

/** Of the source, for each tenant: rows by their place in the WAL, in the order of commits. */
function truth(script: readonly Event[]): Rows {
  const rows: Rows = {};
  script.forEach((end) => {
    if (end.kind !== 'commit') return;
    for (const [i, row] of script.entries()) {
      if (row.kind === 'row' && row.xid === end.xid && !isRolledBack(script, row))
        rows[row.tenant] = [...(rows[row.tenant] ?? []), i];
    }
  });
  return rows;
}

const isRolledBack = (script: readonly Event[], row: Event & { sub: number }): boolean =>
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
  readonly #to: Assembler;
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
    this.#to = new Assembler({
      lanes: [this.#lane],
      epochs: new EpochMap(),
      plan: { tagging: TAGGING, database: 'app', types: new Map() },
      partBytes: 150,
      leastBytes: [0, 80][(how.dice[1] ?? 0) % 2] ?? 0,
      fewTenants: (how.dice[0] ?? 0) % 2 === 0 ? 1 : 16, // pieces of more than one tenant are collected, or none are
      attempt,
      events: { onCut: () => this.#flush(), onUnassigned: () => {} },
    });
    this.#to.relation(ITEMS.oid, ITEMS);
  }

  /** @throws NotStreamed */
  run(until: number): void {
    for (const [i, event] of this.#script.slice(0, until).entries()) {
      if (event.kind === 'row') this.#row(event.xid, i);
      else if (event.kind === 'rollback') this.#rollback(event.xid, event.sub);
      else this.#end(event.xid, event.kind, BigInt(i + 1) as Lsn);
      if (this.#roll() < 30) this.#flush();
    }
    this.#flush();
  }

  #row(xid: number, i: number): void {
    const rows = this.#buffered.get(xid) ?? [];
    this.#buffered.set(xid, rows);
    rows.push(i);
    // While the source is read without streaming, all comes whole.
    if (this.#roll() < 40 && this.#plainUntil === LSN_ZERO) this.#stretch(xid);
  }

  #stretch(xid: number): void {
    this.#begun.add(xid);
    this.#to.streamStart(xid);
    for (const i of this.#take(xid)) {
      const { sub, tenant } = this.#rowAt(i);
      this.#to.streamChange(subxid(xid, sub));
      insert(this.#to, ITEMS.oid, tuple(String(i), tenant, 'x'.repeat(20)));
    }
    this.#to.streamStop();
  }

  #rollback(xid: number, sub: number): void {
    this.#buffered.set(
      xid,
      (this.#buffered.get(xid) ?? []).filter((i) => this.#rowAt(i).sub !== sub),
    );
    if (this.#begun.has(xid)) this.#to.streamAbort(xid, subxid(xid, sub));
  }

  #end(xid: number, kind: 'commit' | 'abort', lsn: Lsn): void {
    const end = (lsn + 1n) as Lsn;
    if (this.#begun.has(xid) && kind === 'abort') this.#to.streamAbort(xid, xid);
    else if (this.#begun.has(xid)) {
      if ((this.#buffered.get(xid) ?? []).length > 0) this.#stretch(xid);
      this.#to.streamCommit(xid, lsn, end, 0n);
    } else if (kind === 'commit') {
      this.#to.begin(lsn, 0n, xid);
      for (const i of this.#take(xid))
        insert(this.#to, ITEMS.oid, tuple(String(i), this.#rowAt(i).tenant, 'x'.repeat(20)));
      this.#to.commit(lsn, end, 0n);
    }
    this.#buffered.delete(xid);
  }

  #take(xid: number): number[] {
    const rows = this.#buffered.get(xid) ?? [];
    this.#buffered.set(xid, []);
    return rows;
  }

  #rowAt(i: number): { sub: number; tenant: string } {
    const row = this.#script[i];
    if (row?.kind !== 'row') throw new Error(`no row at ${i}`);
    return row;
  }

  #roll(): number {
    return this.#dice[this.#throws++ % this.#dice.length] ?? 0;
  }

  #flush(): void {
    const group = this.#lane.takeGroup(this.#to.lastCommit);
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
      { numRuns: 300 },
    );
  });
});
