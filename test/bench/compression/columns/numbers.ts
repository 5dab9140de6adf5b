/** Whole numbers, keys and numerics. */
import { type Random, weighted, zipf } from '../random.ts';
import { type ColumnSpec, single, type Write } from './spec.ts';

const INT8 = 20;
const NUMERIC = 1700;
const BOOL = 16;

function identity(random: Random): () => number {
  let id = 1_000_000;
  return () => {
    id += random.chance(0.03) ? random.between(2, 4) : 1;
    return id;
  };
}

/** Neighbours change places, as when the later of two transactions commits first. */
function swapped(random: Random): Write {
  let id = 1_000_000;
  let held: number | null = null;
  return (row) => {
    if (held !== null) {
      row.int8(held);
      held = null;
    } else if (random.chance(0.08)) {
      held = ++id;
      row.int8(++id);
    } else row.int8(++id);
  };
}

/** A sequence with CACHE 32 that eight sessions draw from. */
function cached(random: Random): Write {
  let next = 1_000_000;
  const sessions = Array.from({ length: 8 }, () => ({ at: 0, left: 0 }));
  return (row) => {
    const session = random.pick(sessions);
    if (session.left === 0) {
      session.at = next;
      session.left = 32;
      next += 32;
    }
    session.left--;
    row.int8(session.at++);
  };
}

export const numberColumns: readonly ColumnSpec[] = [
  single(
    'int8 identity, 3 % gaps',
    INT8,
    101,
    (random) => {
      const next = identity(random);
      return (row) => row.int8(next());
    },
    { 100: 40, 1000: 120 },
  ),
  single('int8, 8 % of rows swapped', INT8, 102, swapped, { 1000: 20 }),
  single('int8, CACHE 32 of 8 sessions', INT8, 103, cached, { 1000: 14 }),
  single('int8 foreign key, zipf of 50,000', INT8, 104, (random) => {
    const key = zipf(50_000, 1.05);
    return (row) => row.int8(10_000_000 + key(random));
  }),
  single(
    'int8 foreign key, uniform of 200,000',
    INT8,
    105,
    (random) => (row) => row.int8(random.below(200_000)),
  ),
  single(
    'numeric(12,2), lognormal',
    NUMERIC,
    106,
    (random) => (row) => row.numeric(Math.round(random.lognormal(8.5, 1)), 2),
  ),
  single('numeric(4,2), 11 values', NUMERIC, 107, (random) => (row) => row.numeric(random.below(11), 2)),
  single('bool, 8 % true', BOOL, 108, (random) => {
    const value = weighted([92, 8]);
    return (row) => row.bool(value(random) === 1);
  }),
];
