/** Numbers of all kinds as pgoutput sends them, for tests: ordinary ones and those at the edges. */

export type Random = () => number;

/** A column's values, one call a row. */
export type Draw = (row: number) => Buffer;

export const below = (random: Random, limit: number): number => Math.floor(random() * limit);
export function pickOne<T>(random: Random, values: readonly T[]): T {
  return values[below(random, values.length)] as T;
}

const INT8_MAX = 2n ** 63n - 1n;
const INT8_MIN = -(2n ** 63n);

function whole(width: number, value: bigint): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigInt64BE(BigInt.asIntN(64, value));
  return out.subarray(8 - width);
}

export const among =
  (values: readonly Buffer[]) =>
  (random: Random): Draw =>
  () =>
    pickOne(random, values);

/** Numbers of a width in every manner: constant, rising, jumping, repeated, spread, extreme. */
export function wholes(width: 1 | 2 | 4 | 8): ((random: Random) => Draw)[] {
  const top = 2n ** BigInt(width * 8 - 1);
  const edges = [
    0n,
    1n,
    -1n,
    top - 1n,
    -top,
    top / 2n,
    2n ** 31n,
    2n ** 32n - 1n,
    2n ** 53n,
    -(2n ** 53n) - 1n,
  ];
  const base = (random: Random): bigint => BigInt(below(random, 2 ** Math.min(52, width * 8 - 2)));
  return [
    (random) => {
      const value = base(random);
      return () => whole(width, value);
    },
    (random) => {
      const [first, step] = [base(random), BigInt(below(random, 5) - 2)];
      return (row) => whole(width, first + step * BigInt(row) + (random() < 0.03 ? 1n : 0n));
    },
    (random) => {
      let value = base(random);
      return () => {
        value += BigInt(below(random, 2000) - 900);
        return whole(width, value);
      };
    },
    (random) => {
      const next = Array.from({ length: 8 }, () => base(random));
      return () => {
        const session = below(random, 8);
        const value = next[session] as bigint;
        next[session] = value + 1n;
        return whole(width, value);
      };
    },
    (random) => {
      const few = Array.from({ length: 9 }, () => base(random));
      return (row) =>
        whole(width, few[random() < 0.5 ? Math.floor(row / 20) % 9 : below(random, 9)] as bigint);
    },
    (random) => () => whole(width, BigInt(below(random, 2 ** 48)) << BigInt(below(random, 16))),
    (random) => () => whole(width, pickOne(random, edges)),
    (random) => {
      const first = base(random);
      return (row) =>
        random() < 0.02 ? whole(width, pickOne(random, [top - 1n, -top])) : whole(width, first + BigInt(row));
    },
    () => (row) => whole(width, row % 2 === 0 ? INT8_MIN : INT8_MAX),
  ];
}

export const float8 = (value: number): Buffer => {
  const out = Buffer.alloc(8);
  out.writeDoubleBE(value);
  return out;
};
const float4 = (value: number): Buffer => {
  const out = Buffer.alloc(4);
  out.writeFloatBE(value);
  return out;
};
export const hex = (text: string): Buffer => Buffer.from(text, 'hex');

/** NaN quiet, with payload, signalling, negative; zeros; infinities; smallest, largest; what decimals trip over. */
export const FLOAT8_EDGES = [
  ...['7ff8000000000000', '7ff8000000000abc', '7ff0000000000001', 'fff7fffffff7ffff', '8000000000000000'].map(
    hex,
  ),
  ...['0000000000000001', '7ff0000000000000', 'fff0000000000000', '7fefffffffffffff', '000fffffffffffff'].map(
    hex,
  ),
  ...[0, 0.1 + 0.2, 1e22, 1e23, 2 ** 53 - 1, 2 ** 53 + 2, 123456789012345.6, -0.5].map(float8),
];
export const FLOAT4_EDGES = [
  ...['7fc00000', '7fc00abc', '7f800001', 'ffbfffff', '80000000', '00000001', '7f800000', 'ff800000'].map(
    hex,
  ),
  ...[3.3, 0.1, 16777216, 16777217, 3.4028234663852886e38, 1e-45, 0].map(float4),
];

function floats(put: (value: number) => Buffer, edges: readonly Buffer[]): ((random: Random) => Draw)[] {
  return [
    (random) => {
      let value = 20;
      return () => {
        value = Math.round(value * 100 + below(random, 9) - 4) / 100;
        return put(value);
      };
    },
    (random) => () => put(random() * 1e6),
    (random) => () => (random() < 0.1 ? pickOne(random, edges) : put(below(random, 1000) / 8)),
    among(edges),
    () => () => put(-0),
    (random) => () => put(below(random, 10 ** 9) / 10 ** below(random, 9)),
  ];
}

/** `sign`: 0, 0x4000, 0xc000 NaN, 0xd000 infinity, 0xf000 minus infinity. */
export function numeric(digits: readonly number[], weight: number, sign: number, scale: number): Buffer {
  const out = Buffer.alloc(8 + 2 * digits.length);
  [digits.length, weight & 0xffff, sign, scale, ...digits].forEach((word, i) => {
    out.writeUInt16BE(word, 2 * i);
  });
  return out;
}

export const NUMERIC_EDGES = [
  numeric([], 0, 0, 0),
  numeric([], 0, 0, 2),
  numeric([], 0, 0xc000, 0),
  numeric([], 0, 0xd000, 32),
  numeric([], 0, 0xf000, 32),
  numeric([1], 0, 0x4000, 0),
  numeric([100], 0, 0, 2),
  numeric([1], 0, 0, 30),
  numeric([10], 32767, 0, 0),
  numeric([1], -4096, 0, 16383),
  numeric([9999, 9999, 9999, 9999], 3, 0, 0),
  numeric([9, 71, 9925, 4740, 9910], 3, 0, 2),
  numeric([1, 0, 1], 0, 0, 8),
  numeric([1000], -1, 0x4000, 1),
  // Forms no server sends: zeros at either end, digits beyond 9999, digits the scale does not show, a length that lies.
  numeric([0, 1], 1, 0, 0),
  numeric([1, 0], 0, 0, 4),
  numeric([10_000], 0, 0, 0),
  numeric([1, 5000], 0, 0, 0),
  numeric([], 3, 0x4000, 0),
  hex('0003000000000000'),
  hex('00'),
  hex(''),
];

export function numerics(): ((random: Random) => Draw)[] {
  const money = (random: Random, scale: number): Buffer => {
    const cents = below(random, 10 ** (2 + below(random, 7)));
    const sign = random() < 0.2 && cents > 0 ? 0x4000 : 0;
    const parts = [Math.floor(cents / 1e6) % 10_000, Math.floor(cents / 100) % 10_000, (cents % 100) * 100];
    let weight = 1;
    while (parts[0] === 0) {
      parts.shift();
      weight--;
    }
    while (parts.at(-1) === 0) parts.pop();
    return numeric(parts, parts.length === 0 ? 0 : weight, sign, scale);
  };
  return [
    (random) => () => money(random, 2),
    (random) => (row) => money(random, row < 20 ? 2 : 6),
    among(NUMERIC_EDGES),
    (random) => () => (random() < 0.1 ? pickOne(random, NUMERIC_EDGES) : money(random, 2)),
  ];
}

export const FLOAT8S = floats(float8, FLOAT8_EDGES);
export const FLOAT4S = floats(float4, FLOAT4_EDGES);
