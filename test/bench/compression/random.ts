/** Seeded randomness and the distributions the generators draw from: the same seed gives the same data on every machine. */

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995) | 0;
  }

  /** Uniform 32 bits. */
  word(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** Uniform in [0, 1), 53 bits. */
  unit(): number {
    return (this.word() * 2097152 + (this.word() >>> 11)) / 9007199254740992;
  }

  below(limit: number): number {
    return Math.floor(this.unit() * limit);
  }

  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  chance(probability: number): boolean {
    return this.unit() < probability;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }

  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.unit())) * Math.cos(2 * Math.PI * this.unit());
  }

  exponential(mean: number): number {
    return -mean * Math.log(1 - this.unit());
  }

  lognormal(mean: number, sigma: number): number {
    return Math.exp(mean + sigma * this.normal());
  }

  bytes(length: number): Buffer {
    const out = Buffer.allocUnsafe(length);
    for (let i = 0; i < length; i++) out[i] = this.word() >>> 24;
    return out;
  }

  text(length: number, alphabet: string): string {
    let out = '';
    for (let i = 0; i < length; i++) out += alphabet[this.below(alphabet.length)];
    return out;
  }
}

/** Draws 0 to n-1 with weight 1 / (rank + 1)^s. */
export function zipf(n: number, s: number): (random: Random) => number {
  return weighted(Array.from({ length: n }, (_, rank) => 1 / (rank + 1) ** s));
}

/** Draws an index with these weights. */
export function weighted(weights: readonly number[]): (random: Random) => number {
  const sums = new Float64Array(weights.length);
  let sum = 0;
  weights.forEach((weight, i) => {
    sum += weight;
    sums[i] = sum;
  });
  return (random) => {
    const at = random.unit() * sum;
    let low = 0;
    let high = sums.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sums[middle] as number) > at) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

export const ALNUM = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

export function uuid4(random: Random): Buffer {
  const out = random.bytes(16);
  out[6] = ((out[6] as number) & 15) | 0x40;
  out[8] = ((out[8] as number) & 63) | 0x80;
  return out;
}

export function uuid7(random: Random, unixMs: number): Buffer {
  const out = random.bytes(16);
  out.writeUIntBE(unixMs, 0, 6);
  out[6] = ((out[6] as number) & 15) | 0x70;
  out[8] = ((out[8] as number) & 63) | 0x80;
  return out;
}
