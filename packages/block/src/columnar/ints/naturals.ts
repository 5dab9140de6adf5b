/** Natural numbers below 2^53 as bytes: the last step of every codec of whole numbers. A layout's id is part of the format. */
import { corrupt } from '../../header.ts';
import type { StreamSink, StreamSource } from '../streams.ts';
import { packBits, packedBytes, unpackBits } from './bit-pack.ts';
import { estimateRans } from './estimate.ts';
import { readRans, writeRans } from './rans.ts';
import { bitLength } from './tokens.ts';

/** zero: all are. pack: patched bit packing. rans…: entropy coded with token style 0 to 2. planes: bytes of equal rank together. */
export const Layout = {
  zero: 0,
  pack: 1,
  rans: 2,
  ransCoarse: 3,
  ransFine: 4,
  planes: 5,
  varint: 6,
} as const;
export type Layout = (typeof Layout)[keyof typeof Layout];
export const LAYOUTS = 7;

const lengths = new Uint32Array(54);

export interface Weighed {
  layout: Layout;
  bits: number;
}

/** The layout that takes fewest bits, and how many. Planes, which only pay off by what zstd makes of them, are not weighed here. */
export function weighNaturals(values: Float64Array, count: number): Weighed {
  const highest = countLengths(values, count);
  if (highest === 0) return { layout: Layout.zero, bits: 0 };
  let varintBits = 0;
  for (let length = 0; length <= highest; length++) {
    varintBits += (lengths[length] as number) * Math.max(1, Math.ceil(length / 7)) * 8;
  }
  const best: Weighed = { layout: Layout.varint, bits: varintBits };
  const width = packWidth(highest, count);
  const packBitsTotal = 8 + packCost(width, highest, count);
  if (packBitsTotal < best.bits) {
    best.layout = Layout.pack;
    best.bits = packBitsTotal;
  }
  if (count >= 8) {
    for (let style = 0; style < 3; style++) {
      const bits = estimateRans(values, count, style);
      if (bits >= best.bits) continue;
      best.layout = (Layout.rans + style) as Layout;
      best.bits = bits;
    }
  }
  return best;
}

/** Fills {@link lengths}; the greatest bit length. */
function countLengths(values: Float64Array, count: number): number {
  lengths.fill(0);
  let highest = 0;
  for (let i = 0; i < count; i++) {
    const length = bitLength(values[i] as number);
    lengths[length] = (lengths[length] as number) + 1;
    if (length > highest) highest = length;
  }
  return highest;
}

/** Bits of packing at `width`, the wider values as patches: place and the rest of the value. */
function packCost(width: number, highest: number, count: number): number {
  let patches = 0;
  for (let length = width + 1; length <= highest; length++) patches += lengths[length] as number;
  const patchBits = 8 + Math.ceil((highest - width + 1) / 7) * 8;
  return packedBytes(count, width) * 8 + 8 + patches * patchBits;
}

function packWidth(highest: number, count: number): number {
  let best = highest;
  let bestCost = packCost(highest, highest, count);
  for (let width = highest - 1; width >= 0; width--) {
    const cost = packCost(width, highest, count);
    if (cost >= bestCost) continue;
    best = width;
    bestCost = cost;
  }
  return best;
}

/** Writes `values[0 .. count)`; the reader must know count and layout. */
export function writeNaturals(values: Float64Array, count: number, layout: Layout, sink: StreamSink): void {
  switch (layout) {
    case Layout.zero:
      return;
    case Layout.pack:
      writePacked(values, count, sink);
      return;
    case Layout.rans:
    case Layout.ransCoarse:
    case Layout.ransFine:
      writeRans(values, count, layout - Layout.rans, sink.random);
      return;
    case Layout.planes:
      writePlanes(values, count, sink);
      return;
    case Layout.varint:
      for (let i = 0; i < count; i++) sink.numbers.varint(values[i] as number);
  }
}

/** The wanted layout unless its precondition fails. */
export function admissible(wanted: Layout, values: Float64Array, count: number): Layout {
  if (wanted !== Layout.zero) return wanted;
  for (let i = 0; i < count; i++) if ((values[i] as number) > 0) return Layout.varint;
  return wanted;
}

/** Layout and values: for parts whose layout nobody remembers. */
export function putNaturals(values: Float64Array, count: number, sink: StreamSink): void {
  const { layout } = weighNaturals(values, count);
  sink.numbers.u8(layout);
  writeNaturals(values, count, layout, sink);
}

/** @throws DroverError `block.corrupt` */
export function getNaturals(source: StreamSource, count: number): Float64Array {
  source.spend(count * 8);
  const out = new Float64Array(count);
  readNaturals(source, count, source.numbers.u8(), out);
  return out;
}

function writePacked(values: Float64Array, count: number, sink: StreamSink): void {
  const highest = countLengths(values, count);
  const width = packWidth(highest, count);
  let patches = 0;
  for (let length = width + 1; length <= highest; length++) patches += lengths[length] as number;
  sink.numbers.u8(width);
  sink.numbers.varint(patches);
  packBits(values, count, width, sink.random);
  if (patches === 0) return;
  const limit = 2 ** width;
  let last = -1;
  for (let i = 0; i < count; i++) {
    const value = values[i] as number;
    if (value < limit) continue;
    sink.numbers.varint(i - last - 1);
    sink.numbers.varint(Math.floor(value / limit) - 1);
    last = i;
  }
}

function writePlanes(values: Float64Array, count: number, sink: StreamSink): void {
  let max = 0;
  for (let i = 0; i < count; i++) if ((values[i] as number) > max) max = values[i] as number;
  const planes = Math.max(1, Math.ceil(bitLength(max) / 8));
  sink.numbers.u8(planes);
  const out = sink.planes;
  out.reserve(planes * count);
  const bytes = out.bytes;
  let at = out.size;
  for (let plane = 0; plane < planes; plane++) {
    if (plane < 4) {
      for (let i = 0; i < count; i++) bytes[at++] = (values[i] as number) >>> (plane * 8);
    } else {
      const shift = (plane - 4) * 8;
      for (let i = 0; i < count; i++) bytes[at++] = ((values[i] as number) / 4294967296) >>> shift;
    }
  }
  out.size = at;
}

/** @throws DroverError `block.corrupt` */
export function readNaturals(source: StreamSource, count: number, layout: number, out: Float64Array): void {
  switch (layout) {
    case Layout.zero:
      out.fill(0, 0, count);
      return;
    case Layout.pack:
      readPacked(source, count, out);
      return;
    case Layout.rans:
    case Layout.ransCoarse:
    case Layout.ransFine:
      readRans(source.random, count, layout - Layout.rans, out);
      return;
    case Layout.planes:
      readPlanes(source, count, out);
      return;
    case Layout.varint:
      for (let i = 0; i < count; i++) out[i] = source.numbers.varint();
      return;
    default:
      throw corrupt('numbers are laid out in an unknown way', { layout });
  }
}

function readPacked(source: StreamSource, count: number, out: Float64Array): void {
  const width = source.numbers.u8();
  const patches = source.numbers.varint();
  if (width > 53 || patches > count) throw corrupt('packed numbers are malformed', { width, patches });
  unpackBits(source.random, count, width, out);
  const limit = 2 ** width;
  let at = -1;
  for (let i = 0; i < patches; i++) {
    at += source.numbers.varint() + 1;
    if (at >= count) throw corrupt('a patch stands outside its column');
    const value = (out[at] as number) + (source.numbers.varint() + 1) * limit;
    if (value > Number.MAX_SAFE_INTEGER) throw corrupt('a number is out of range');
    out[at] = value;
  }
}

function readPlanes(source: StreamSource, count: number, out: Float64Array): void {
  const planes = source.numbers.u8();
  if (planes < 1 || planes > 7) throw corrupt('a column has a wrong number of byte planes', { planes });
  const start = source.planes.take(planes * count);
  const bytes = source.planes.bytes;
  const last = start + (planes - 1) * count;
  for (let i = 0; i < count; i++) out[i] = bytes[last + i] as number;
  for (let plane = planes - 2; plane >= 0; plane--) {
    const from = start + plane * count;
    for (let i = 0; i < count; i++) out[i] = (out[i] as number) * 256 + (bytes[from + i] as number);
  }
}
