/** How the numbers of a column are best told: by which base they differ least. */
import { Base, baseOf, ESCAPE, IntModel, SYMBOLS, symbolOf } from './int-model.ts';
import type { RowFacts } from './observe.ts';
import { Table } from './table.ts';

const LENGTHS = ESCAPE / 2;
/** Columns before this one that are looked at. */
const COLUMNS_MAX = 12;
/** A base other than the constant must take this share of the bits, at most. */
const GAIN_MAX = 0.97;
/** How many values ahead a message may be of the profile's last, while learning, in powers of two. */
const LAGS = 12;
/** Lengths beyond those seen that a growing number may come to while its profile is in use, and the weight of each. */
const GROWTH = 10;
const GROWTH_WEIGHT = 0.04;

export interface Numbers {
  readonly values: readonly number[];
  readonly rows: readonly RowFacts[];
}

export class IntLearner {
  #ids = 0;

  /** @param columns how many columns of the row are known before this one */
  learn({ values, rows }: Numbers, columns: number): IntModel {
    const id = this.#ids++;
    const least = values.reduce((low, value) => Math.min(low, value), values[0] ?? 0);
    let best = candidate(Base.constant, least, values, rows);
    let bits = best.bits * GAIN_MAX;
    const last = values.at(-1) ?? 0;
    for (const base of basesFor(rows, columns)) {
      const one = candidate(base, last, values, rows);
      if (one.bits >= bits) continue;
      best = one;
      bits = one.bits;
    }
    const { base, constant, unit, far, near } = best;
    return new IntModel({ id, base, constant, unit }, Table.of(far), Table.of(near));
  }

  get count(): number {
    return this.#ids;
  }
}

function basesFor(rows: readonly RowFacts[], columns: number): number[] {
  const bases: number[] = [Base.previous, Base.time, Base.unixMs];
  const first = rows[0];
  if (first === undefined) return [];
  for (let column = columns - 1; column >= 0 && bases.length < COLUMNS_MAX + 3; column--) {
    if (!Number.isNaN(first.ints[column] ?? Number.NaN)) bases.push(Base.column + column);
  }
  return bases;
}

interface Candidate {
  readonly base: number;
  readonly constant: number;
  readonly unit: number;
  readonly far: Float64Array;
  readonly near: Float64Array;
  readonly bits: number;
}

function candidate(
  base: number,
  constant: number,
  values: readonly number[],
  rows: readonly RowFacts[],
): Candidate {
  const bases = values.map((_, i) => baseAt(base, values, rows, i));
  const moving = base !== Base.constant;
  const differences = values.map(
    (value, i) => value - (Number.isNaN(bases[i]) ? constant : (bases[i] as number)),
  );
  const unit = commonDivisor(differences);
  const far = new Float64Array(SYMBOLS);
  const near = new Float64Array(SYMBOLS);
  let farCount = 0;
  let extra = 0;
  values.forEach((_, i) => {
    const symbol = symbolOf(differences[i] as number, unit);
    const known = !Number.isNaN(bases[i]);
    if (known || !moving) extra += bitsBeyond(symbol);
    if (known) add(near, symbol);
    else if (!moving) add(far, symbol);
    else farCount++;
  });
  let bits = entropy(near) + (moving ? 0 : entropy(far)) + extra;
  if (moving) bits += farCount * foresee(values, unit, far);
  smooth(near);
  smooth(far);
  return { base, constant, unit, far, near, bits };
}

function baseAt(base: number, values: readonly number[], rows: readonly RowFacts[], i: number): number {
  const row = rows[i] as RowFacts;
  if (base !== Base.previous) return baseOf(base, row.time, row.ints);
  return i > 0 && rows[i - 1]?.message === row.message ? (values[i - 1] as number) : Number.NaN;
}

/** How far values are from the profile's last after a while, into `counts`. @returns bits each takes */
function foresee(values: readonly number[], unit: number, counts: Float64Array): number {
  let total = 0;
  let extra = 0;
  for (let power = 0; power < LAGS; power++) {
    const lag = 2 ** power;
    for (let i = lag; i < values.length; i += Math.max(1, lag >> 2)) {
      const symbol = symbolOf((values[i] as number) - (values[i - lag] as number), unit);
      add(counts, symbol);
      extra += bitsBeyond(symbol);
      total++;
    }
  }
  if (total === 0) return LENGTHS;
  const bits = (entropy(counts) + extra) / total;
  let highest = 0;
  for (let length = 0; length < LENGTHS; length++) if ((counts[length] as number) > 0) highest = length;
  for (let more = 1; more <= GROWTH && highest + more < LENGTHS; more++) {
    counts[highest + more] = (counts[highest + more] as number) + total * GROWTH_WEIGHT;
  }
  return bits;
}

/** One more of the symbol. */
export function add(counts: Float64Array, symbol: number): void {
  counts[symbol] = (counts[symbol] as number) + 1;
}

function bitsBeyond(symbol: number): number {
  return symbol === ESCAPE ? LENGTHS : Math.max(0, (symbol % LENGTHS) - 1);
}

/** Bits that all of them take. */
export function entropy(counts: Float64Array): number {
  let sum = 0;
  for (const count of counts) sum += count;
  let bits = 0;
  for (const count of counts) if (count > 0) bits -= count * Math.log2(count / sum);
  return bits;
}

/** Lengths next to those seen are more likely than others. */
function smooth(counts: Float64Array): void {
  const seen = Float64Array.from(counts);
  for (let symbol = 0; symbol < ESCAPE; symbol++) {
    for (const [distance, weight] of [
      [1, 0.01],
      [2, 0.003],
    ] as const) {
      for (const at of [symbol - distance, symbol + distance]) {
        if (at < 0 || at >= ESCAPE) continue;
        counts[at] = (counts[at] as number) + (seen[symbol] as number) * weight;
      }
    }
  }
}

function commonDivisor(differences: readonly number[]): number {
  let divisor = 0;
  for (const difference of differences) {
    let a = Math.abs(difference);
    if (!Number.isSafeInteger(a)) continue;
    while (a > 0) [a, divisor] = [divisor % a, a];
    if (divisor === 1) return 1;
  }
  return Math.max(1, divisor);
}
