import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DELETE, INSERT, UPDATE } from '../changes/decoded-block.ts';
import { tuple, U, type Value, values } from '../changes/tuple.testing.ts';
import type { TupleRef } from '../changes/tuple.ts';
import { Fold } from './fold.ts';

/** Rows of one tenant: key to (small, toasted). */
type Rows = Map<string, [string, string]>;

const K = 0x4b;
const O = 0x4f;

interface Change {
  op: number;
  kind: number;
  old: TupleRef | null;
  now: TupleRef | null;
}

interface Step {
  what: number;
  key: number;
  to: number;
  small: number;
  body: number | null;
}

const step = fc.record({
  what: fc.integer({ min: 0, max: 3 }),
  key: fc.integer({ min: 0, max: 5 }),
  to: fc.integer({ min: 0, max: 5 }),
  small: fc.integer({ min: 0, max: 9 }),
  body: fc.option(fc.integer({ min: 0, max: 9 })),
});

/** Turns steps into the changes a source would send for those that are possible, moving `rows` on. */
function play(rows: Rows, steps: readonly Step[], full: boolean): Change[] {
  const out: Change[] = [];
  const whole = (key: string): TupleRef => tuple(key, ...rows.get(key)!);
  const oldOf = (key: string): TupleRef => (full ? whole(key) : tuple(key, null, null));
  for (const { what, key: k, to, small, body } of steps) {
    const key = `k${k}`;
    const row = rows.get(key);
    if (what === 0 && row === undefined) {
      rows.set(key, [`s${small}`, `b${body ?? 0}`]);
      out.push({ op: INSERT, kind: 0, old: null, now: whole(key) });
    } else if (what === 1 && row !== undefined) {
      out.push({ op: DELETE, kind: full ? O : K, old: oldOf(key), now: null });
      rows.delete(key);
    } else if (row !== undefined) {
      const target = what === 3 && !rows.has(`k${to}`) ? `k${to}` : key;
      const old = full || target !== key ? oldOf(key) : null;
      rows.delete(key);
      rows.set(target, [`s${small}`, body === null ? row[1] : `b${body}`]);
      const now = tuple(target, `s${small}`, body === null ? U : `b${body}`);
      out.push({ op: UPDATE, kind: old === null ? 0 : full ? O : K, old, now });
    }
  }
  return out;
}

function fold(changes: readonly Change[], lenient: boolean, tenant = 0, into = new Fold([0])): Fold {
  for (const { op, kind, old, now } of changes) {
    // Offsets mean one buffer per change.
    const bytes = Buffer.concat([old?.bytes ?? Buffer.alloc(0), now?.bytes ?? Buffer.alloc(0)]);
    const shift = old?.bytes.length ?? 0;
    into.add(
      tenant,
      lenient,
      op,
      kind,
      bytes,
      old?.start ?? 0,
      old?.end ?? 0,
      now === null ? 0 : now.start + shift,
      now === null ? 0 : now.end + shift,
    );
  }
  return into;
}

/** What the writer does with a net effect: deletes, updates, inserts. Strict effects must meet what they say. */
function write(rows: Rows, net: Fold): void {
  const list = [...net.entries()].map(([, row]) => row);
  const keyOf = (t: TupleRef): string => values(t)[0] as string;
  for (const row of list) {
    if (row.after !== null && !row.fresh) continue;
    const key = keyOf(row.key);
    if (row.before === 'present' && !rows.has(key)) throw new Error(`delete misses ${key}`);
    if (row.before !== 'absent') rows.delete(key);
  }
  for (const row of list) {
    if (row.after === null || row.fresh) continue;
    const [key, small, body] = values(row.after) as [string, string, Value];
    const was = rows.get(key);
    if (was === undefined) {
      if (row.before === 'present') throw new Error(`update misses ${key}`);
      continue;
    }
    rows.set(key, [small, body === U ? was[1] : (body as string)]);
  }
  for (const row of list) {
    if (row.after === null || !row.fresh) continue;
    const [key, small, body] = values(row.after) as [string, string, Value];
    if (rows.has(key)) throw new Error(`insert meets ${key}`);
    if (body === U) throw new Error('an insert with an unknown value');
    rows.set(key, [small, body as string]);
  }
}

const start = fc
  .uniqueArray(fc.integer({ min: 0, max: 5 }))
  .map((keys): Rows => new Map(keys.map((k) => [`k${k}`, [`s${k}`, `toast${k}`]])));
const sorted = (rows: Rows): unknown => [...rows].sort(([a], [b]) => (a < b ? -1 : 1));

describe('the folded net effect', () => {
  it('equals the changes one by one, or says that it cannot tell', () => {
    let folded = 0;
    fc.assert(
      fc.property(start, fc.array(step, { maxLength: 40 }), fc.boolean(), (rows, steps, full) => {
        const source: Rows = new Map(rows);
        const changes = play(source, steps, full);
        const net = fold(changes, false);
        if (net.unfoldable !== null) {
          // Only a key change whose unchanged values nobody sent may be refused.
          expect(full).toBe(false);
          return;
        }
        folded++;
        const target: Rows = new Map(rows);
        write(target, net);
        expect(sorted(target)).toEqual(sorted(source));
      }),
      { numRuns: 2000 },
    );
    expect(folded).toBeGreaterThan(1000);
  });

  it('of lenient changes brings any earlier or later copy of a row to the same end', () => {
    fc.assert(
      fc.property(
        start,
        fc.array(step, { maxLength: 40 }),
        fc.array(fc.nat(40), { minLength: 6, maxLength: 6 }),
        (rows, steps, cuts) => {
          // Each key is copied at its own moment of the source's history.
          const history: Rows[] = [new Map(rows)];
          const source: Rows = new Map(rows);
          const changes: Change[] = [];
          for (const one of steps) {
            changes.push(...play(source, [one], true));
            history.push(new Map(source));
          }
          const target: Rows = new Map();
          for (let k = 0; k < 6; k++) {
            const row = history[Math.min(cuts[k] ?? 0, history.length - 1)]?.get(`k${k}`);
            if (row !== undefined) target.set(`k${k}`, [...row]);
          }
          const net = fold(changes, true);
          expect(net.unfoldable).toBe(null);
          write(target, net);
          // A row that was only ever updated after a copy that missed it cannot exist: what a copy missed, a later change made.
          expect(sorted(target)).toEqual(sorted(source));
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('keeps tenants apart: a row that moves is deleted from one and made for the other, in either order', () => {
    const gone = { op: DELETE, kind: O, old: tuple('k1', 's', 'b'), now: null };
    const made = { op: INSERT, kind: 0, old: null, now: tuple('k1', 't', 'b') };
    for (const order of [0, 1]) {
      const net = new Fold([0]);
      if (order === 0) fold([gone], false, 0, net);
      fold([made], false, 1, net);
      if (order === 1) fold([gone], false, 0, net);
      const rows: Rows = new Map([['k1', ['s', 'b']]]);
      write(rows, net);
      expect(rows).toEqual(new Map([['k1', ['t', 'b']]]));
    }
  });
});

describe('what cannot be folded', () => {
  it.each([
    [
      'an insert of a row that is there',
      [
        [INSERT, 'k1'],
        [INSERT, 'k1'],
      ],
    ],
    [
      'a delete of a row that is gone',
      [
        [DELETE, 'k1'],
        [DELETE, 'k1'],
      ],
    ],
    [
      'an update of a row that is gone',
      [
        [DELETE, 'k1'],
        [UPDATE, 'k1'],
      ],
    ],
  ] as const)('%s', (_, ops) => {
    const changes = ops.map(([op, key]) => ({
      op,
      kind: op === DELETE ? K : 0,
      old: op === DELETE ? tuple(key, null, null) : null,
      now: op === DELETE ? null : tuple(key, 's', 'b'),
    }));
    expect(fold(changes, false).unfoldable).not.toBe(null);
  });
});
