/**
 * Entropy coding of tokens (range asymmetric numeral systems, one state of 31 bits, refilled 16 bits at a time), followed by their extra bits.
 * Close to the entropy of the numbers as long as their order says nothing; transforms before it see to that.
 */
import { corrupt } from '../../header.ts';
import type { ByteReader, ByteWriter } from '../bytes.ts';
import { Scratch, scratch } from '../scratch.ts';
import { BitReader, PASS, PASS_BITS } from './bit-pack.ts';
import { readFrequencies, TOTAL, TOTAL_BITS, writeFrequencies } from './frequencies.ts';
import { TOKEN_STYLES, TOKEN_TABLES, TOKENS, type TokenTable, tokenize } from './tokens.ts';

/** The state stays at or above this and below 2^31. */
const LOWEST = 2 ** 15;

const frequencies = new Uint16Array(TOKENS);
const starts = new Uint16Array(TOKENS);
const slots = new Uint8Array(TOTAL);

export function writeRans(values: Float64Array, count: number, style: number, out: ByteWriter): void {
  const tokenized = tokenize(values, count, TOKEN_STYLES[style] as (typeof TOKEN_STYLES)[number]);
  writeFrequencies(tokenized.histogram, tokenized.highest, count, frequencies, out);
  place(tokenized.highest);
  writeTokens(tokenized.tokens, count, out);
  if (tokenized.extraBits > 0) {
    const table = TOKEN_TABLES[style] as TokenTable;
    writeExtra(values, tokenized.tokens, count, table, tokenized.extraBits, out);
  }
}

function place(highest: number): void {
  let start = 0;
  for (let token = 0; token <= highest; token++) {
    starts[token] = start;
    start += frequencies[token] as number;
  }
}

function writeTokens(tokens: Uint8Array, count: number, out: ByteWriter): void {
  const words = scratch(Scratch.words, count + 2);
  let at = words.length;
  let state = LOWEST;
  for (let i = count - 1; i >= 0; i--) {
    const token = tokens[i] as number;
    const frequency = frequencies[token] as number;
    // (LOWEST >> TOTAL_BITS) << 16 times the frequency; with one token only, nothing is ever written.
    if (state >= frequency * 524288) {
      words[--at] = state;
      state >>>= 16;
    }
    const whole = (state / frequency) | 0;
    state = whole * TOTAL + (state - whole * frequency) + (starts[token] as number);
  }
  words[--at] = state;
  words[--at] = state >>> 16;
  const bytes = (words.length - at) * 2;
  out.reserve(bytes);
  for (let to = out.size; at < words.length; at++, to += 2) {
    const word = words[at] as number;
    out.bytes[to] = word;
    out.bytes[to + 1] = word >>> 8;
  }
  out.size += bytes;
}

function writeExtra(
  values: Float64Array,
  tokens: Uint8Array,
  count: number,
  table: TokenTable,
  extraBits: number,
  out: ByteWriter,
): void {
  const { extra, lowest } = table;
  out.reserve((extraBits >>> 3) + 8);
  const bytes = out.bytes;
  let at = out.size;
  let accumulator = 0;
  let have = 0;
  for (let i = 0; i < count; i++) {
    const token = tokens[i] as number;
    let width = extra[token] as number;
    if (width === 0) continue;
    let value = (values[i] as number) - (lowest[token] as number);
    while (width > 24) {
      accumulator |= (value & 0xffffff) << have;
      bytes[at] = accumulator;
      bytes[at + 1] = accumulator >>> 8;
      bytes[at + 2] = accumulator >>> 16;
      at += 3;
      accumulator >>>= 24;
      value = Math.floor(value / 16777216);
      width -= 24;
    }
    accumulator |= value << have;
    have += width;
    while (have >= 8) {
      bytes[at++] = accumulator;
      accumulator >>>= 8;
      have -= 8;
    }
  }
  if (have > 0) bytes[at++] = accumulator;
  out.size = at;
}

/** @throws DroverError `block.corrupt` */
export function readRans(source: ByteReader, count: number, style: number, out: Float64Array): void {
  const table = TOKEN_TABLES[style];
  if (table === undefined) throw corrupt('numbers are coded in an unknown way', { style });
  const highest = readFrequencies(source, frequencies);
  let start = 0;
  for (let token = 0; token <= highest; token++) {
    const frequency = frequencies[token] as number;
    if (frequency === 0) continue;
    starts[token] = start;
    slots.fill(token, start, start + frequency);
    start += frequency;
  }
  const tokens = scratch(Scratch.tokens, count);
  readTokens(source, count, tokens);
  const { lowest, extra } = table;
  let bits = 0;
  for (let i = 0; i < count; i++) {
    const token = tokens[i] as number;
    out[i] = lowest[token] as number;
    bits += extra[token] as number;
  }
  if (bits > 0) readExtra(source, tokens, count, extra, bits, out);
}

function readTokens(source: ByteReader, count: number, tokens: Uint8Array): void {
  const bytes = source.bytes;
  let at = source.take(4);
  const end = source.end;
  let state =
    ((bytes[at] as number) << 16) |
    ((bytes[at + 1] as number) << 24) |
    (bytes[at + 2] as number) |
    ((bytes[at + 3] as number) << 8);
  at += 4;
  if (state < LOWEST) throw corrupt('coded numbers start wrongly');
  for (let i = 0; i < count; i++) {
    const slot = state & (TOTAL - 1);
    const token = slots[slot] as number;
    tokens[i] = token;
    state = (frequencies[token] as number) * (state >>> TOTAL_BITS) + slot - (starts[token] as number);
    if (state < LOWEST) {
      if (at + 2 > end) throw corrupt('coded numbers are cut');
      state = (state << 16) | (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
      at += 2;
    }
  }
  if (state !== LOWEST) throw corrupt('coded numbers end wrongly');
  source.at = at;
}

function readExtra(
  source: ByteReader,
  tokens: Uint8Array,
  count: number,
  extra: Uint8Array,
  bits: number,
  out: Float64Array,
): void {
  const reader = new BitReader(source, bits);
  for (let i = 0; i < count; i++) {
    const width = extra[tokens[i] as number] as number;
    if (width === 0) continue;
    let value = (out[i] as number) + reader.take(width < PASS_BITS ? width : PASS_BITS);
    let scale = PASS;
    for (let left = width - PASS_BITS; left > 0; left -= PASS_BITS) {
      value += reader.take(left < PASS_BITS ? left : PASS_BITS) * scale;
      scale *= PASS;
    }
    out[i] = value;
  }
}
