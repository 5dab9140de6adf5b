/** Measurements: walks with two decimals, prices, noise. */
import type { Random } from '../random.ts';
import { type ColumnSpec, single, type Write } from './spec.ts';

const FLOAT8 = 701;
const DEVICES = 200;

function walk(random: Random, unchanged: number, spread: number): Write {
  let cents = 2150;
  return (row) => {
    if (!random.chance(unchanged)) cents += Math.round(random.normal() * spread);
    row.float8(cents / 100);
  };
}

function price(random: Random): Write {
  let value = 184.2;
  return (row) => {
    value *= Math.exp(random.normal() * 0.0004);
    row.float8(Math.round(value * 100) / 100);
  };
}

/** Devices take turns; the column before this one says whose turn it is. */
const devices: ColumnSpec = {
  name: 'float8, 200 series interleaved, beside their key',
  typeOids: [23, FLOAT8],
  seed: 204,
  gates: { 1000: 9.5, 10000: 14 },
  make: (random) => {
    const cents = Array.from({ length: DEVICES }, () => random.between(1500, 2500));
    let at = -1;
    return {
      columns: [
        (row) => {
          at = (at + 1) % DEVICES;
          row.int4(1000 + at);
        },
        (row) => {
          if (!random.chance(0.4)) cents[at] = (cents[at] as number) + Math.round(random.normal() * 3);
          row.float8((cents[at] as number) / 100);
        },
      ],
    };
  },
};

export const floatColumns: readonly ColumnSpec[] = [
  single('float8 walk, 2 decimals', FLOAT8, 201, (random) => walk(random, 0, 4), { 1000: 14 }),
  single('float8 gauge, 70 % unchanged', FLOAT8, 202, (random) => walk(random, 0.7, 2), { 1000: 33 }),
  single('float8 price, 2 decimals', FLOAT8, 203, price, { 1000: 11 }),
  devices,
  single('float8, full mantissa', FLOAT8, 205, (random) => (row) => row.float8(random.normal()), {
    100: 1,
    1000: 1.04,
    10000: 1.04,
  }),
  single('float4 noise', 700, 206, (random) => (row) => row.float4(random.normal()), { 1000: 1, 10000: 1 }),
];
