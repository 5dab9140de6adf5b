/**
 * Natural numbers as a token, which is entropy coded, and extra bits, which are not: small numbers are their own token, larger ones share one
 * with those of the same magnitude and the same leading bits (the hybrid integer coding of JPEG XL).
 */
import { Scratch, scratch } from '../scratch.ts';

/** Numbers below 2^direct are tokens themselves; of larger ones `leading` bits after the first belong to the token. */
export interface TokenStyle {
  readonly direct: number;
  readonly leading: number;
}

/** By id, which is part of the format. Every token of a number below 2^53 fits a byte, or {@link tokenize} says no. */
export const TOKEN_STYLES: readonly TokenStyle[] = [
  { direct: 4, leading: 2 },
  { direct: 0, leading: 0 },
  { direct: 7, leading: 1 },
];

export const TOKENS = 256;

/** Number of bits of a natural number; 0 for 0. */
export function bitLength(value: number): number {
  return value < 4294967296 ? 32 - Math.clz32(value) : 64 - Math.clz32(value / 4294967296);
}

export interface Tokenized {
  readonly tokens: Uint8Array;
  /** How often each token stands. */
  readonly histogram: Uint32Array;
  extraBits: number;
  highest: number;
}

const histogram = new Uint32Array(TOKENS);
const result = { tokens: new Uint8Array(0), histogram, extraBits: 0, highest: 0 };

/** Valid until the next call. */
export function tokenize(values: Float64Array, count: number, style: TokenStyle): Tokenized {
  const tokens = scratch(Scratch.tokens, count);
  const { direct, leading } = style;
  const limit = 2 ** direct;
  const base = limit - direct * 2 ** leading;
  const mask = 2 ** leading - 1;
  let extraBits = 0;
  let highest = 0;
  histogram.fill(0);
  for (let i = 0; i < count; i++) {
    const value = values[i] as number;
    let token: number;
    if (value < limit) token = value;
    else {
      const power = bitLength(value) - 1;
      const rest = power - leading;
      const top = value < 4294967296 ? value >>> rest : Math.floor(value / 2 ** rest);
      token = base + (power << leading) + (top & mask);
      extraBits += rest;
    }
    tokens[i] = token;
    if (token > highest) highest = token;
    histogram[token] = (histogram[token] as number) + 1;
  }
  result.tokens = tokens;
  result.extraBits = extraBits;
  result.highest = highest;
  return result;
}

/** For each token the lowest number that has it, and how many extra bits follow. */
export interface TokenTable {
  readonly lowest: Float64Array;
  readonly extra: Uint8Array;
}

export const TOKEN_TABLES: readonly TokenTable[] = TOKEN_STYLES.map(({ direct, leading }) => {
  const lowest = new Float64Array(TOKENS);
  const extra = new Uint8Array(TOKENS);
  const limit = 2 ** direct;
  for (let token = 0; token < TOKENS; token++) {
    if (token < limit) lowest[token] = token;
    else {
      const above = token - limit;
      const power = direct + (above >> leading);
      // Tokens beyond 2^53 are never written; 0 extra bits keep a reader of damaged bytes within bounds.
      extra[token] = power < 53 ? power - leading : 0;
      lowest[token] = power < 53 ? 2 ** power + (above & (2 ** leading - 1)) * 2 ** (power - leading) : 0;
    }
  }
  return { lowest, extra };
});
