/**
 * What becomes of one column: the actions of all its rules as one function from value to value, with the type that comes out. Settled once per
 * table; refuses what does not fit the column.
 */
import { refused } from '../errors.ts';
import { keepIntFormat, keepTextFormat, keepUuidFormat } from '../masks/format-keeping.ts';
import {
  hashBytes,
  hashText,
  hashUuid,
  maskKey,
  partialText,
  roundFloat,
  roundInt,
  roundWithin,
  truncateDate,
  truncateTimestamp,
} from '../masks/mask.ts';
import type { Action, Mask } from '../rules/types.ts';
import { parseValue } from '../values/codec.ts';
import { conversion, targetsOf } from '../values/convert.ts';
import { charLimit, type Numeric, type Scalar, type ValueType } from '../values/types.ts';

export type Step = (value: Scalar) => Scalar;

/** Hexadecimal digits that make equal pseudonyms of different values practically impossible. */
const KEY_HASH_LENGTH = 32;

export class ColumnChain {
  readonly name: string;
  /** `table public.users, column "email"`. */
  readonly #where: string;
  readonly typeOid: number;
  readonly type: ValueType | undefined;
  readonly #secret: string;
  typmod: number;
  outName: string;
  outType: ValueType | undefined;
  outTypeOid: number;
  dropped = false;
  /** Different values stay different. */
  injective = true;
  /** By which action it ceased to be. */
  lossyAt = '';
  /** The first action upon it. */
  changedAt = '';
  steps: Step[] = [];
  /** The value that replaces all others, NULL included. */
  fixed: { readonly value: Scalar | null } | undefined;

  constructor(options: {
    name: string;
    typeOid: number;
    type: ValueType | undefined;
    typmod: number;
    table: string;
    secret: string;
  }) {
    this.name = options.name;
    this.outName = options.name;
    this.typeOid = options.typeOid;
    this.outTypeOid = options.typeOid;
    this.type = options.type;
    this.outType = options.type;
    this.typmod = options.typmod;
    this.#secret = options.secret;
    this.#where = `${options.table}, column "${options.name}"`;
  }

  /** The bytes of its cells are passed on as they are. */
  get untouched(): boolean {
    return this.steps.length === 0 && this.fixed === undefined;
  }

  add(action: Action): void {
    if (this.changedAt === '') this.changedAt = action.at;
    switch (action.kind) {
      case 'drop':
        this.dropped = true;
        this.#lossy(action.at);
        return;
      case 'rename':
        this.outName = action.to;
        return;
      case 'convert':
        this.#convert(action.to, action.at);
        return;
      case 'mask':
        this.#mask(action.mask, action.at);
    }
  }

  #convert(to: string, at: string): void {
    const from = this.outType;
    const found = from === undefined ? null : conversion(from, to);
    if (from === undefined || found === null) {
      const can = from === undefined ? [] : targetsOf(from);
      const what = can.length === 0 ? 'to nothing' : `to ${can.join(', ')}`;
      throw this.#refused(
        'type',
        at,
        `${from?.name ?? `type ${this.typeOid}`} does not become ${to} without loss, only ${what}`,
      );
    }
    if (!found.verbatim) this.#step(found.convert);
    this.outType = found.type;
    this.outTypeOid = found.type.oid;
    this.typmod = -1;
  }

  #mask(mask: Mask, at: string): void {
    if (mask.kind === 'constant') {
      this.#constant(mask.value, at);
      return;
    }
    const type = this.outType;
    const step = type === undefined ? undefined : this.#maskStep(mask, type, at);
    if (step === undefined)
      throw this.#refused(
        'type',
        at,
        `${mask.kind} is not for ${type?.name ?? `type ${this.typeOid}`}, but for ${FITS[mask.kind]}`,
      );
    this.#step(step);
  }

  #maskStep(mask: Exclude<Mask, { kind: 'constant' }>, type: ValueType, at: string): Step | undefined {
    switch (mask.kind) {
      case 'hash':
        return this.#hashStep(mask, type, at);
      case 'partial':
        if (type.family !== 'text' && type.family !== 'bpchar') return undefined;
        this.#lossy(at);
        return (v) => partialText(v as string, mask);
      case 'format-keeping':
        return formatStep(maskKey(this.#secret, 'format', mask.scope), type);
      case 'truncate':
        this.#lossy(at);
        if (type.family === 'date') return (v) => truncateDate(v as bigint, mask.to); // by family, here and below
        return type.family === 'timestamp' || type.family === 'timestamptz'
          ? (v) => truncateTimestamp(v as bigint, mask.to)
          : undefined;
      case 'round': {
        this.#lossy(at);
        const { typmod } = this;
        if (type.family === 'int') return (v) => roundInt(v as bigint, mask.digits, type.size);
        if (type.family === 'numeric') return (v) => roundWithin(v as Numeric, mask.digits, typmod);
        return type.family === 'float' ? (v) => roundFloat(v as number, mask.digits, type) : undefined;
      }
    }
  }

  #hashStep(mask: Mask & { kind: 'hash' }, type: ValueType, at: string): Step | undefined {
    const key = maskKey(this.#secret, 'hash', mask.scope);
    if (type.family === 'uuid') return (v) => hashUuid(key, v as Buffer);
    if (type.family === 'bytea') return (v) => hashBytes(key, v as Buffer);
    if (type.family !== 'text') return undefined;
    const limit = charLimit(this.typmod);
    if (limit !== undefined && limit < mask.length)
      throw this.#refused(
        'value',
        at,
        `varchar(${limit}) does not hold ${mask.length} hexadecimal digits; set length = ${limit}`,
      );
    if (mask.length < KEY_HASH_LENGTH) this.#lossy(at);
    return (v) => hashText(key, v as string, mask.length);
  }

  #constant(value: string | number | bigint | boolean | null, at: string): void {
    this.#lossy(at);
    this.steps = [];
    if (value === null) {
      this.fixed = { value: null };
      return;
    }
    const type = this.outType;
    const parsed = type === undefined ? undefined : parseValue(type, String(value));
    const limit = charLimit(this.typmod);
    const long = typeof parsed === 'string' && limit !== undefined && Array.from(parsed).length > limit;
    if (type === undefined || parsed === undefined || long)
      throw this.#refused(
        'value',
        at,
        `${JSON.stringify(String(value))} is no ${type?.name ?? `value of type ${this.typeOid}`}${long ? `(${limit})` : ''}`,
      );
    this.fixed = {
      value: typeof parsed === 'string' && type.family === 'bpchar' ? parsed.padEnd(limit ?? 1) : parsed,
    };
  }

  #step(step: Step): void {
    if (this.fixed === undefined) this.steps.push(step);
    else if (this.fixed.value !== null) this.fixed = { value: step(this.fixed.value) };
  }

  #lossy(at: string): void {
    this.injective = false;
    if (this.lossyAt === '') this.lossyAt = at;
  }

  #refused(refusal: 'type' | 'value', at: string, wrong: string): Error {
    return refused(refusal, at, `${this.#where}: ${wrong}`, this.name);
  }
}

function formatStep(key: Buffer, type: ValueType): Step | undefined {
  switch (type.family) {
    case 'text':
    case 'bpchar':
      return (v) => keepTextFormat(key, v as string);
    case 'int':
      return (v) => keepIntFormat(key, v as bigint, type.size);
    case 'uuid':
      return (v) => keepUuidFormat(key, v as Buffer);
    default:
      return undefined;
  }
}

const FITS: Readonly<Record<Exclude<Mask['kind'], 'constant'>, string>> = {
  hash: 'text, varchar, uuid and bytea',
  partial: 'texts',
  'format-keeping': 'texts, integers and uuid',
  truncate: 'date, timestamp and timestamptz',
  round: 'integers, numeric and floats',
};
