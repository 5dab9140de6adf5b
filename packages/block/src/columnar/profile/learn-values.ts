/** Which model suits the values of a column: each that applies is made and put to the test on the values themselves. */
import { ByteWriter } from '../bytes.ts';
import { Context, type FormModel, type ValueModel } from './context.ts';
import { readFixedAt } from './fixed-at.ts';
import { FixedForm, FloatForm, NumericForm, UuidForm } from './forms.ts';
import { add, entropy, type IntLearner } from './learn-ints.ts';
import { learnTemplate, type Wanted } from './learn-template.ts';
import { parseNumeric, scaleOf } from './numeric-at.ts';
import type { Observation } from './observe.ts';
import { RangeEncoder } from './range-coder.ts';
import { compressWith } from './residue.ts';
import { Table } from './table.ts';
import { DecimalForm } from './template-model.ts';
import { DictionaryModel, FormedModel, LettersModel, PlanesForm, ResidueModel } from './values.ts';

/** A form must suit so many of the values. */
const FORMED_MIN = 0.8;
const PLANES_MAX = 16;
const FLAT_BITS = 7.5;
const PLACES_MAX = 9;
const DICTIONARY_VALUES_MAX = 512;
const DICTIONARY_BYTES_MAX = 4096;
const GAIN_MAX = 0.97;
/** A byte of the profile weighs as much as so many bits of the messages it was learnt from. */
const MODEL_BITS = 4;

export class ValueLearner {
  readonly ints: IntLearner;

  constructor(ints: IntLearner) {
    this.ints = ints;
  }

  /** @param columns how many columns of the row are known before */
  learn(all: readonly Observation[], wanted: Wanted, columns: number): ValueModel {
    const plain = this.#plain(all);
    let best = plain;
    let bits = cost(best, all, columns, this.ints.count) * GAIN_MAX;
    const consider = (model: ValueModel): void => {
      const need = cost(model, all, columns, this.ints.count);
      if (need >= bits) return;
      best = model;
      bits = need;
    };
    for (const form of this.#forms(all, wanted, columns)) {
      const flags = new Float64Array([0.5, 0.5]);
      for (const { bytes } of all) add(flags, form.parse(bytes, 0, bytes.length) ? 0 : 1);
      if ((flags[0] as number) < all.length * FORMED_MIN) continue;
      consider(new FormedModel(form, Table.of(flags), plain));
    }
    const dictionary = dictionaryOf(all, best);
    if (dictionary !== null) consider(dictionary);
    return best;
  }

  /** Of values of any form. */
  #plain(all: readonly Observation[]): ValueModel {
    const lengths = this.ints.learn(
      { values: all.map(({ bytes }) => bytes.length), rows: all.map(({ row }) => row) },
      0,
    );
    const letters = new Float64Array(256).fill(0.02);
    let total = 0;
    for (const { bytes } of all) {
      total += bytes.length;
      for (const byte of bytes) add(letters, byte);
    }
    if (total === 0 || residueBits(all) * total <= entropy(letters)) return new ResidueModel(lengths);
    return new LettersModel(lengths, Table.of(letters));
  }

  #forms(all: readonly Observation[], wanted: Wanted, columns: number): FormModel[] {
    const forms: (FormModel | null)[] = [];
    switch (wanted.kind) {
      case 'ints':
        forms.push(this.#fixed(all, wanted.width, columns));
        break;
      case 'float':
        forms.push(this.#float(all, wanted.width, columns), planesOf(all));
        break;
      case 'numeric':
        forms.push(this.#numeric(all, columns));
        break;
      case 'document':
        forms.push(learnTemplate(this, all, true, columns));
        break;
      case 'token':
        forms.push(this.#decimal(all, columns));
        break;
      case 'bytes':
        forms.push(this.#uuid(all), learnTemplate(this, all, false, columns), planesOf(all));
        break;
    }
    return forms.filter((form) => form !== null);
  }

  /** The numbers of those values that have one, or null when they are few. */
  #numbers(all: readonly Observation[], columns: number, read: (bytes: Buffer) => number) {
    const kept = all
      .map(({ bytes, row }) => ({ value: read(bytes), row }))
      .filter(({ value }) => !Number.isNaN(value));
    if (kept.length === 0 || kept.length < all.length * FORMED_MIN) return null;
    return this.ints.learn(
      { values: kept.map(({ value }) => value), rows: kept.map(({ row }) => row) },
      columns,
    );
  }

  #fixed(all: readonly Observation[], width: number, columns: number): FormModel | null {
    const ints = this.#numbers(all, columns, (bytes) => readFixedAt(bytes, 0, bytes.length, width));
    return ints === null ? null : new FixedForm(width, ints);
  }

  #numeric(all: readonly Observation[], columns: number): FormModel | null {
    const scale = commonest(all.map(({ bytes }) => scaleOf(bytes, 0, bytes.length)));
    if (scale < 0) return null;
    const ints = this.#numbers(all, columns, (bytes) => parseNumeric(bytes, 0, bytes.length, scale));
    return ints === null ? null : new NumericForm(scale, ints);
  }

  #float(all: readonly Observation[], width: number, columns: number): FormModel | null {
    for (let places = 0; places <= PLACES_MAX; places++) {
      const read = (bytes: Buffer): number => floatAt(bytes, width, places);
      const ints = this.#numbers(all, columns, read);
      if (ints !== null) return new FloatForm(width, places, ints);
    }
    return null;
  }

  #uuid(all: readonly Observation[]): FormModel | null {
    if (all.some(({ bytes }) => bytes.length !== 16)) return null;
    const timed = commonest(all.map(({ bytes }) => (bytes[6] as number) >> 4)) === 7;
    if (!timed) return new UuidForm(null);
    const ints = this.#numbers(all, 0, (bytes) => bytes.readUIntBE(0, 6));
    return ints === null ? null : new UuidForm(ints);
  }

  #decimal(all: readonly Observation[], columns: number): FormModel | null {
    const texts = all.map(({ bytes }) => bytes.toString('latin1'));
    const places = commonest(
      texts.map((text) => (text.includes('.') ? text.length - text.indexOf('.') - 1 : 0)),
    );
    const padded = texts.some((text) => text.length > 1 && text.startsWith('0') && !text.includes('.'));
    const width = padded ? commonest(texts.map((text) => text.length)) : 0;
    if (places > 15 || width > 15) return null;
    const read = (bytes: Buffer): number => {
      const value = Number(bytes.toString('latin1').replace('.', ''));
      return bytes.length > 0 && Number.isSafeInteger(value) ? value : Number.NaN;
    };
    const ints = this.#numbers(all, columns, read);
    return ints === null ? null : new DecimalForm(width, places, ints);
  }
}

/** Of the value times 10^places, when that is whole. */
function floatAt(bytes: Buffer, width: number, places: number): number {
  if (bytes.length !== width) return Number.NaN;
  const value = width === 8 ? bytes.readDoubleBE(0) : bytes.readFloatBE(0);
  const whole = Math.round(value * 10 ** places);
  const back = whole / 10 ** places;
  return Number.isSafeInteger(whole) && (width === 8 ? back : Math.fround(back)) === value
    ? whole
    : Number.NaN;
}

/** The value that comes most often; of those the first. */
function commonest(values: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  let best = values[0] ?? 0;
  for (const [value, count] of counts) if (count > (counts.get(best) ?? 0)) best = value;
  return best;
}

function planesOf(all: readonly Observation[]): FormModel | null {
  const width = all[0]?.bytes.length ?? 0;
  if (width === 0 || width > PLANES_MAX || all.some(({ bytes }) => bytes.length !== width)) return null;
  const planes = Array.from({ length: width }, (_, place) => {
    const counts = new Float64Array(256);
    for (const { bytes } of all) add(counts, bytes[place] as number);
    if (entropy(counts) > FLAT_BITS * all.length) return null;
    return Table.of(counts.map((count) => count + all.length / 5000));
  });
  return new PlanesForm(planes);
}

/** Values that came more than once; null when there are none. */
function dictionaryOf(all: readonly Observation[], rest: ValueModel): ValueModel | null {
  const counts = new Map<string, number>();
  for (const { bytes } of all) {
    const key = bytes.toString('latin1');
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  // A stable sort of values in the order of their first appearance.
  const often = [...counts].filter(([, count]) => count > 1).sort((a, b) => b[1] - a[1]);
  const kept: [string, number][] = [];
  let size = 0;
  for (const entry of often) {
    size += entry[0].length;
    if (kept.length === DICTIONARY_VALUES_MAX || size > DICTIONARY_BYTES_MAX) break;
    kept.push(entry);
  }
  if (kept.length === 0) return null;
  const covered = kept.reduce((sum, [, count]) => sum + count, 0);
  // As many new values as came once (Good and Turing), and those left out.
  const others = Math.max(0.5, all.length - covered);
  const table = Table.of([...kept.map(([, count]) => count), others]);
  const values = kept.map(([key]) => Buffer.from(key, 'latin1'));
  return new DictionaryModel(values, table, rest);
}

/** Bits a byte takes as residue: of some values, each compressed alone by what others say. */
function residueBits(all: readonly Observation[]): number {
  const half = all.length >> 1;
  const dictionary = Buffer.concat(all.slice(0, half).map(({ bytes }) => bytes)).subarray(-4096);
  let before = 0;
  let after = 0;
  const step = Math.max(1, Math.floor((all.length - half) / 24));
  for (let i = half; i < all.length; i += step) {
    const { bytes } = all[i] as Observation;
    before += bytes.length;
    after +=
      bytes.length < 12 ? bytes.length : Math.min(bytes.length, compressWith(bytes, dictionary).length);
  }
  return before === 0 ? 8 : (after * 8) / before;
}

/** Bits all of them take, and part of what the model itself takes: what is only learnt by heart does not pay. */
function cost(model: ValueModel, all: readonly Observation[], columns: number, ints: number): number {
  const range = new RangeEncoder();
  const residue = new ByteWriter();
  const context = new Context(columns, ints);
  let message = -1;
  for (const { bytes, row } of all) {
    if (row.message !== message) context.previous.fill(Number.NaN);
    message = row.message;
    context.time = row.time;
    for (let column = 0; column < columns; column++) context.ints[column] = row.ints[column] as number;
    model.encode({ range, residue, context }, bytes, 0, bytes.length);
  }
  const stored = new ByteWriter();
  model.write(stored);
  return range.finish().length * 8 + residue.size * residueBits(all) + stored.size * MODEL_BITS;
}
