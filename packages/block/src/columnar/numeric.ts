/**
 * PostgreSQL's numeric in its binary form (numeric_send): Int16 number of digits, weight of the first, sign, display scale; then digits of base
 * 10000. Values become whole numbers at the greatest display scale of the column, with the display scales beside them; what cannot be rebuilt
 * from that exactly (NaN, infinity, too many digits, a form no server sends) is kept as bytes.
 */
import { corrupt } from '../header.ts';
import { getNaturals, putNaturals } from './ints/naturals.ts';
import { decodeNear, encodeInts } from './ints.ts';
import type { Plan } from './plan.ts';
import { NEAR_MAX } from './signed.ts';
import { pick, type Slices } from './slices.ts';
import type { StreamSink, StreamSource } from './streams.ts';
import { decodeStrings, encodeStrings } from './strings.ts';

const HEADER_BYTES = 8;
const NEGATIVE = 0x4000;
/** With more decimals the fraction of a value is no longer exact in the arithmetic below. */
const SCALE_MAX = 12;
const DIGITS_MAX = 8;
const POWERS = Array.from({ length: 32 }, (_, i) => 10 ** i);
const EXCEPTION = -1;

/** False, with nothing written, when most values would be exceptions. */
export function encodeNumeric(values: Slices, sink: StreamSink, plan: Plan): boolean {
  const { count } = values;
  const scales = new Float64Array(count);
  const scale = readScales(values, scales);
  const scaled = new Float64Array(count);
  let exceptions = 0;
  for (let i = 0; i < count; i++) {
    const whole = scales[i] === EXCEPTION ? Number.NaN : scaledAt(values, i, scale);
    scaled[i] = whole;
    if (Number.isNaN(whole)) exceptions++;
  }
  if (exceptions * 2 > count) return false;
  sink.numbers.u8(scale);
  sink.numbers.varint(exceptions);
  if (exceptions > 0) writeExceptions(values, scaled, scales, exceptions, sink, plan);
  encodeInts(scales, sink, plan.child('scales'));
  encodeInts(scaled, sink, plan.child('values'));
  return true;
}

/** Display scales into `scales`, {@link EXCEPTION} where the form is not understood; the greatest. */
function readScales(values: Slices, scales: Float64Array): number {
  const { bytes, starts, ends, count } = values;
  let greatest = 0;
  for (let i = 0; i < count; i++) {
    const start = starts[i] as number;
    const length = (ends[i] as number) - start;
    scales[i] = EXCEPTION;
    if (length < HEADER_BYTES) continue;
    const digits = short(bytes, start);
    const sign = short(bytes, start + 4);
    const scale = short(bytes, start + 6);
    if (digits > DIGITS_MAX || length !== HEADER_BYTES + 2 * digits || scale > SCALE_MAX) continue;
    if (sign !== 0 && sign !== NEGATIVE) continue;
    scales[i] = scale;
    if (scale > greatest) greatest = scale;
  }
  return greatest;
}

/** The value times 10^scale, or NaN when it is not whole, too large, or not in the one form that is rebuilt. */
function scaledAt(values: Slices, row: number, scale: number): number {
  const { bytes } = values;
  const start = values.starts[row] as number;
  const digits = short(bytes, start);
  const sign = short(bytes, start + 4);
  const weight = (short(bytes, start + 2) << 16) >> 16;
  if (digits === 0) return weight === 0 && sign === 0 ? 0 : Number.NaN;
  if (short(bytes, start + 8) === 0 || short(bytes, start + 6 + 2 * digits) === 0) return Number.NaN;
  let mantissa = 0;
  for (let at = start + 8, end = at + 2 * digits; at < end; at += 2) {
    const digit = short(bytes, at);
    if (digit > 9999) return Number.NaN;
    mantissa = mantissa * 10_000 + digit;
  }
  if (mantissa > Number.MAX_SAFE_INTEGER) return Number.NaN;
  const exponent = 4 * (weight - digits + 1) + scale;
  if (exponent > 20 || exponent < -20) return Number.NaN;
  let whole: number;
  if (exponent >= 0) whole = mantissa * (POWERS[exponent] as number);
  else {
    whole = mantissa / (POWERS[-exponent] as number);
    if (!Number.isInteger(whole) || whole * (POWERS[-exponent] as number) !== mantissa) return Number.NaN;
  }
  // A display scale below the digits there are is not what a server sends, and would not be rebuilt.
  const own = short(bytes, start + 6);
  if (own < scale && whole % (POWERS[scale - own] as number) !== 0) return Number.NaN;
  if (whole > NEAR_MAX) return Number.NaN;
  return sign === NEGATIVE ? -whole : whole;
}

function writeExceptions(
  values: Slices,
  scaled: Float64Array,
  scales: Float64Array,
  exceptions: number,
  sink: StreamSink,
  plan: Plan,
): void {
  const rows = new Uint32Array(exceptions);
  const gaps = new Float64Array(exceptions);
  let at = 0;
  let last = -1;
  let scale = 0;
  let value = 0;
  for (let i = 0; i < scaled.length; i++) {
    if (!Number.isNaN(scaled[i])) {
      scale = scales[i] as number;
      value = scaled[i] as number;
      continue;
    }
    scales[i] = scale;
    scaled[i] = value;
    gaps[at] = i - last - 1;
    rows[at++] = i;
    last = i;
  }
  putNaturals(gaps, exceptions, sink);
  encodeStrings(pick(values, rows), sink, plan.child('exceptions'));
}

/** @throws DroverError `block.corrupt` */
export function decodeNumeric(source: StreamSource, count: number): Slices {
  const scale = source.numbers.u8();
  const exceptions = source.numbers.varint();
  if (scale > SCALE_MAX || exceptions > count) throw corrupt('a column of numerics is malformed');
  const gaps = exceptions === 0 ? null : getNaturals(source, exceptions);
  const kept = exceptions === 0 ? null : decodeStrings(source, exceptions);
  const scales = decodeNear(source, count);
  const scaled = decodeNear(source, count);
  let keptBytes = 0;
  if (kept !== null) for (let i = 0; i < exceptions; i++) keptBytes += lengthAt(kept, i);
  const most = (HEADER_BYTES + 2 * DIGITS_MAX) * count + keptBytes;
  source.spend(most + 8 * count);
  const out = Buffer.allocUnsafe(most);
  const starts = new Uint32Array(count);
  const ends = new Uint32Array(count);
  let at = 0;
  let exception = 0;
  let next = gaps === null ? count : (gaps[0] as number);
  for (let i = 0; i < count; i++) {
    starts[i] = at;
    if (i === next && kept !== null && gaps !== null) {
      at += kept.bytes.copy(out, at, kept.starts[exception] as number, kept.ends[exception] as number);
      exception++;
      next = exception < exceptions ? i + 1 + (gaps[exception] as number) : count;
    } else at = putNumeric(out, at, scaled[i] as number, scale, scales[i] as number);
    ends[i] = at;
  }
  if (exception !== exceptions) throw corrupt('an exception stands outside its column');
  return { bytes: out, starts, ends, count };
}

function lengthAt(values: Slices, i: number): number {
  return (values.ends[i] as number) - (values.starts[i] as number);
}

/** At most 8 + 2 · 8 bytes: whole part below 2^53 in four groups, up to 12 decimals in three. @returns where it ends */
function putNumeric(out: Buffer, start: number, scaled: number, scale: number, shown: number): number {
  const size = Math.abs(scaled);
  const unit = POWERS[scale] as number;
  let whole = Math.floor(size / unit);
  const groups = (scale + 3) >> 2;
  let fraction = (size - whole * unit) * (POWERS[groups * 4 - scale] as number);
  // Written from the last group to the first, into the room of the longest, then moved to the front.
  const last = start + HEADER_BYTES + 2 * DIGITS_MAX;
  let at = last;
  let end = last;
  for (let group = 0; group < groups; group++) {
    const rest = Math.floor(fraction / 10_000);
    at -= 2;
    putShort(out, at, fraction - rest * 10_000);
    fraction = rest;
  }
  let weight = -1;
  while (whole > 0 && at > start + HEADER_BYTES) {
    const rest = Math.floor(whole / 10_000);
    at -= 2;
    putShort(out, at, whole - rest * 10_000);
    whole = rest;
    weight++;
  }
  while (end > at && out[end - 1] === 0 && out[end - 2] === 0) end -= 2;
  while (at < end && out[at] === 0 && out[at + 1] === 0) {
    at += 2;
    weight--;
  }
  const digits = (end - at) >> 1;
  putShort(out, start, digits);
  putShort(out, start + 2, digits === 0 ? 0 : weight);
  putShort(out, start + 4, scaled < 0 ? NEGATIVE : 0);
  putShort(out, start + 6, shown);
  const to = start + HEADER_BYTES;
  for (let i = 0; i < 2 * digits; i++) out[to + i] = out[at + i] as number;
  return to + 2 * digits;
}

function short(bytes: Buffer, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

function putShort(out: Buffer, at: number, value: number): void {
  out[at] = value >> 8;
  out[at + 1] = value;
}
