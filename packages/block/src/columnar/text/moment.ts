/**
 * Points in time as text (`2026-11-21T09:12:33.123Z`, `2026-11-21 09:12:33.123456+00`) as one integer each: taken apart into six numbers they
 * would hide that they increase. The separator and what follows the seconds must be the same in all values; dates that do not exist, leap
 * seconds and years beyond 9999 go on as text.
 *
 * Stream `numbers`: form, number of values carried as text, first second, distances from it as integers; for the values carried as text their
 * places as integers and their text as strings. Stream `text`: the
 * separator and what follows the seconds.
 */
import { corrupt } from '../../header.ts';
import type { Plan } from '../plan.ts';
import type { StringCodec } from '../registry.ts';
import { pick, type Slices } from '../slices.ts';
import type { StreamSink, StreamSource } from '../streams.ts';
import { DAY, dateOf, SECONDS_BYTES, secondsAt } from './calendar.ts';
import type { Columns } from './codec.ts';
import { DIGITS_MAX, POWERS, putPadded } from './digits.ts';
import { naturals, wholeNumbers } from './whole.ts';

/** Digits of a fraction of a second: microseconds are exact in a double. */
const FRACTION_MAX = 6;
const TAIL_MAX = 16;
/** 0000-01-01 and 10000-01-01, seconds since 1970. */
const FIRST_SECOND = -62_167_219_200;
const END_SECOND = 253_402_300_800;
/** Units from the first value: beyond, integers would be wide. */
const DISTANCE_END = POWERS[DIGITS_MAX] as number;
const AS_TEXT_MAX = 0.25;
/** Part of the format; written as digits * 2 + trimmed. trimmed: no zeros at the end of the fraction, and no point without one. */
const FORMS = 2;

export function momentCodec(id: number, columns: Columns): StringCodec {
  return {
    id,
    name: 'moment',
    encode: (values, sink, plan) => encode(columns, values, sink, plan.child('moment')),
    decode: (source, count) => decode(columns, source, count),
  };
}

interface Form {
  readonly separator: number;
  readonly tail: Buffer;
  digits: number;
  trimmed: boolean;
}

/** Offset behind the fraction of a value that may be a moment. */
function fractionEnd(bytes: Buffer, start: number, end: number): number {
  let at = start + SECONDS_BYTES;
  if (at >= end || bytes[at] !== 0x2e) return Math.min(at, end);
  at++;
  while (at < end && (bytes[at] as number) >= 0x30 && (bytes[at] as number) <= 0x39) at++;
  return at;
}

/** What the first values have in common; null when they are no moments. */
function findForm(values: Slices): Form | null {
  const { bytes, starts, ends } = values;
  let form: Form | null = null;
  let shortest = FRACTION_MAX;
  for (let i = 0; i < values.count; i++) {
    const start = starts[i] as number;
    const end = ends[i] as number;
    const tail = fractionEnd(bytes, start, end);
    if (Number.isNaN(secondsAt(bytes, start, end)) || end - tail > TAIL_MAX) {
      if (i === 0) return null;
      continue;
    }
    form ??= {
      separator: bytes[start + 10] as number,
      tail: Buffer.from(bytes.subarray(tail, end)),
      digits: 0,
      trimmed: false,
    };
    const digits = Math.max(0, tail - start - SECONDS_BYTES - 1);
    if (digits > FRACTION_MAX) continue;
    form.digits = Math.max(form.digits, digits);
    shortest = Math.min(shortest, digits);
  }
  if (form !== null) form.trimmed = shortest < form.digits;
  return form;
}

/** The value in units of its form; NaN when it is not of it. */
function momentAt(bytes: Buffer, start: number, end: number, form: Form): number {
  const { separator, tail, digits, trimmed } = form;
  const seconds = secondsAt(bytes, start, end);
  if (Number.isNaN(seconds) || bytes[start + 10] !== separator) return Number.NaN;
  const stop = end - tail.length;
  for (let i = 0; i < tail.length; i++) if (bytes[stop + i] !== tail[i]) return Number.NaN;
  let at = start + SECONDS_BYTES;
  let fraction = 0;
  let read = 0;
  if (at < stop) {
    if (bytes[at++] !== 0x2e || at === stop) return Number.NaN;
    for (; at < stop; at++, read++) {
      const digit = (bytes[at] as number) - 0x30;
      if (!(digit >= 0 && digit <= 9)) return Number.NaN;
      fraction = fraction * 10 + digit;
    }
  }
  if (at !== stop || read > digits) return Number.NaN;
  if (trimmed ? read > 0 && fraction % 10 === 0 : read !== digits) return Number.NaN;
  return seconds * (POWERS[digits] as number) + fraction * (POWERS[digits - read] as number);
}

function encode(columns: Columns, values: Slices, sink: StreamSink, plan: Plan): boolean {
  const { bytes, starts, ends, count } = values;
  if (count === 0 || Number.isNaN(secondsAt(bytes, starts[0] as number, ends[0] as number))) return false;
  const form = findForm(values);
  if (form === null) return false;
  const first = secondsAt(bytes, starts[0] as number, ends[0] as number);
  const base = first * (POWERS[form.digits] as number);
  const moments = new Float64Array(count);
  const asText: number[] = [];
  let known = 0;
  for (let i = 0; i < count; i++) {
    const distance = momentAt(bytes, starts[i] as number, ends[i] as number, form) - base;
    if (Math.abs(distance) < DISTANCE_END) moments[known++] = distance;
    else if (asText.push(i) > count * AS_TEXT_MAX) return false;
  }
  sink.numbers.varint(form.digits * FORMS + (form.trimmed ? 1 : 0));
  sink.numbers.varint(form.tail.length);
  sink.text.u8(form.separator);
  sink.text.copy(form.tail, 0, form.tail.length);
  sink.numbers.varint(asText.length);
  sink.numbers.varint(first - FIRST_SECOND);
  columns.encodeInts(moments.subarray(0, known), sink, plan);
  if (asText.length > 0) {
    const gaps = Float64Array.from(asText, (row, i) => row - (i === 0 ? -1 : (asText[i - 1] as number)) - 1);
    columns.encodeInts(gaps, sink, plan.child('gaps'));
    columns.encodeStrings(pick(values, Uint32Array.from(asText)), sink, plan.child('text'));
  }
  return true;
}

function decode(columns: Columns, source: StreamSource, count: number): Slices {
  const word = source.numbers.varint();
  const tailBytes = source.numbers.varint();
  const trimmed = word % FORMS === 1;
  const digits = Math.floor(word / FORMS);
  if (digits > FRACTION_MAX || tailBytes > TAIL_MAX)
    throw corrupt('moments have no such form', { word, tailBytes });
  const place = source.text.take(1 + tailBytes);
  const separator = source.text.bytes[place] as number;
  const tail = source.text.bytes.subarray(place + 1, place + 1 + tailBytes);
  const textCount = source.numbers.varint();
  if (textCount > count * AS_TEXT_MAX) throw corrupt('more values as text than there may be', { textCount });
  const form: Form = { separator, tail, digits, trimmed };
  const base = (source.numbers.varint() + FIRST_SECOND) * (POWERS[digits] as number);
  const moments = wholeNumbers(columns, source, count - textCount);
  for (let i = 0; i < moments.length; i++) moments[i] = (moments[i] as number) + base;
  const gaps = textCount === 0 ? new Float64Array(0) : naturals(columns, source, textCount, count);
  const texts = textCount === 0 ? null : columns.decodeStrings(source, textCount);
  return render(source, { moments, form, gaps, texts });
}

interface Moments {
  readonly moments: Float64Array;
  readonly form: Form;
  readonly gaps: Float64Array;
  readonly texts: Slices | null;
}

function render(source: StreamSource, { moments, form, gaps, texts }: Moments): Slices {
  const count = moments.length + gaps.length;
  let room = moments.length * (SECONDS_BYTES + 1 + FRACTION_MAX + form.tail.length);
  for (let i = 0; i < gaps.length; i++) room += (texts?.ends[i] as number) - (texts?.starts[i] as number);
  source.spend(room + 8 * count);
  const bytes = Buffer.allocUnsafe(room);
  const starts = new Uint32Array(count);
  const ends = new Uint32Array(count);
  let at = 0;
  let text = 0;
  let next = gaps.length > 0 ? (gaps[0] as number) : count;
  for (let i = 0; i < count; i++) {
    starts[i] = at;
    if (texts !== null && i === next) {
      at += texts.bytes.copy(bytes, at, texts.starts[text], texts.ends[text]);
      text++;
      next = text < gaps.length ? i + 1 + (gaps[text] as number) : count;
    } else {
      if (i - text >= moments.length) throw corrupt('a moment is missing');
      at = putMoment(bytes, at, moments[i - text] as number, form);
    }
    ends[i] = at;
  }
  if (text !== gaps.length) throw corrupt('a text is left over');
  return { bytes: bytes.subarray(0, at), starts, ends, count };
}

function putMoment(out: Buffer, start: number, moment: number, form: Form): number {
  const unit = POWERS[form.digits] as number;
  const seconds = Math.floor(moment / unit);
  let fraction = moment - seconds * unit;
  if (!(seconds >= FIRST_SECOND && seconds < END_SECOND)) throw corrupt('a moment is beyond the years');
  const days = Math.floor(seconds / DAY);
  const ofDay = seconds - days * DAY;
  const date = dateOf(days);
  let at = putPadded(out, start, Math.floor(date / 10_000), 4);
  out[at++] = 0x2d;
  at = putPadded(out, at, Math.floor(date / 100) % 100, 2);
  out[at++] = 0x2d;
  at = putPadded(out, at, date % 100, 2);
  out[at++] = form.separator;
  at = putPadded(out, at, Math.floor(ofDay / 3600), 2);
  out[at++] = 0x3a;
  at = putPadded(out, at, Math.floor(ofDay / 60) % 60, 2);
  out[at++] = 0x3a;
  at = putPadded(out, at, ofDay % 60, 2);
  let digits = form.digits;
  if (form.trimmed) {
    while (digits > 0 && fraction % 10 === 0) {
      fraction /= 10;
      digits--;
    }
  }
  if (digits > 0) {
    out[at++] = 0x2e;
    at = putPadded(out, at, fraction, digits);
  }
  for (let i = 0; i < form.tail.length; i++) out[at++] = form.tail[i] as number;
  return at;
}
