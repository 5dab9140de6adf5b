/**
 * Floats that are decimals with few digits, as whole numbers (the idea of ALP): each is tested to give the very same bits back, what does not is
 * an exception and keeps its bytes.
 */
import { corrupt } from '../../header.ts';
import { getNaturals, putNaturals } from '../ints/naturals.ts';
import { decodeNear, encodeInts } from '../ints.ts';
import type { Plan } from '../plan.ts';
import { NEAR_MAX } from '../signed.ts';
import { fixedSlices, pick, type Slices } from '../slices.ts';
import type { StreamSink, StreamSource } from '../streams.ts';
import { decodeStrings, encodeStrings } from '../strings.ts';
import { viewOf } from '../views.ts';

const POWERS = Array.from({ length: 16 }, (_, i) => 10 ** i);
const SAMPLES = 64;

/** The values as numbers; only good for arithmetic. */
function numbersOf(values: Slices, width: 4 | 8): Float64Array {
  const { starts, count } = values;
  const from = viewOf(values.bytes);
  const out = new Float64Array(count);
  if (width === 8) for (let i = 0; i < count; i++) out[i] = from.getFloat64(starts[i] as number);
  else for (let i = 0; i < count; i++) out[i] = from.getFloat32(starts[i] as number);
  return out;
}

/** The whole number that, divided by `power`, is this value to the bit; NaN when there is none. */
function scaled(value: number, power: number, width: 4 | 8): number {
  const whole = Math.round(value * power);
  if (!(whole <= NEAR_MAX && whole >= -NEAR_MAX)) return Number.NaN;
  const back = width === 8 ? whole / power : Math.fround(whole / power);
  if (back !== value) return Number.NaN;
  if (whole === 0) return Object.is(value, 0) ? 0 : Number.NaN;
  return whole;
}

/** The least exponent that suits most of a sample, or -1 when half of it suits none. */
function exponentOf(numbers: Float64Array, width: 4 | 8): number {
  const stride = Math.max(1, Math.floor(numbers.length / SAMPLES));
  const sampled = Math.ceil(numbers.length / stride);
  let best = -1;
  let most = Math.floor(sampled / 2);
  for (let exponent = 0; exponent < POWERS.length; exponent++) {
    let exact = 0;
    for (let i = 0; i < numbers.length; i += stride) {
      if (!Number.isNaN(scaled(numbers[i] as number, POWERS[exponent] as number, width))) exact++;
    }
    if (exact <= most) continue;
    best = exponent;
    most = exact;
  }
  return best;
}

/** False when most values would be exceptions. */
export function writeDecimals(values: Slices, width: 4 | 8, sink: StreamSink, plan: Plan): boolean {
  const { count } = values;
  const numbers = numbersOf(values, width);
  const exponent = exponentOf(numbers, width);
  if (exponent < 0) return false;
  const power = POWERS[exponent] as number;
  let exceptions = 0;
  for (let i = 0; i < count; i++) {
    const whole = scaled(numbers[i] as number, power, width);
    numbers[i] = whole;
    if (Number.isNaN(whole)) exceptions++;
  }
  if (exceptions * 2 > count) return false;
  sink.numbers.u8(exponent);
  sink.numbers.varint(exceptions);
  if (exceptions > 0) writeExceptions(values, numbers, exceptions, sink, plan);
  encodeInts(numbers, sink, plan.child('wholes'));
  return true;
}

/** Their places and bytes; in `numbers` they become what stands before them. */
function writeExceptions(
  values: Slices,
  numbers: Float64Array,
  exceptions: number,
  sink: StreamSink,
  plan: Plan,
): void {
  const rows = new Uint32Array(exceptions);
  const gaps = new Float64Array(exceptions);
  let at = 0;
  let last = -1;
  let before = 0;
  for (let i = 0; i < numbers.length; i++) {
    if (!Number.isNaN(numbers[i])) {
      before = numbers[i] as number;
      continue;
    }
    numbers[i] = before;
    gaps[at] = i - last - 1;
    rows[at++] = i;
    last = i;
  }
  putNaturals(gaps, exceptions, sink);
  encodeStrings(pick(values, rows), sink, plan.child('exceptions'));
}

/** @throws DroverError `block.corrupt` */
export function readDecimals(source: StreamSource, count: number, width: 4 | 8): Slices {
  const power = POWERS[source.numbers.u8()];
  const exceptions = source.numbers.varint();
  if (power === undefined || exceptions > count) throw corrupt('a column of floats is malformed');
  const gaps = exceptions === 0 ? null : getNaturals(source, exceptions);
  const kept = exceptions === 0 ? null : decodeStrings(source, exceptions);
  const wholes = decodeNear(source, count);
  source.spend(count * width);
  const out = Buffer.allocUnsafe(count * width);
  const to = viewOf(out);
  if (width === 8) for (let i = 0; i < count; i++) to.setFloat64(i * 8, (wholes[i] as number) / power);
  else for (let i = 0; i < count; i++) to.setFloat32(i * 4, (wholes[i] as number) / power);
  if (gaps !== null && kept !== null) placeExceptions(out, width, gaps, kept);
  return fixedSlices(out, 0, width, count);
}

function placeExceptions(out: Buffer, width: number, gaps: Float64Array, kept: Slices): void {
  let row = -1;
  for (let i = 0; i < gaps.length; i++) {
    row += (gaps[i] as number) + 1;
    const start = kept.starts[i] as number;
    if (!((row + 1) * width <= out.length) || (kept.ends[i] as number) - start !== width) {
      throw corrupt('an exception does not fit its column');
    }
    kept.bytes.copy(out, row * width, start, start + width);
  }
}
