/** Models for values of any form: letters, bytes left for zstd, byte planes, and dictionaries in front of them. */
import { corrupt } from '../../header.ts';
import type { ByteWriter } from '../bytes.ts';
import { type CodeSink, type CodeSource, type FormModel, Tag, type ValueModel } from './context.ts';
import type { IntModel } from './int-model.ts';
import type { Table } from './table.ts';

/** @throws DroverError `block.corrupt` */
function lengthOf(length: IntModel, from: CodeSource): number {
  const bytes = length.get(from);
  if (bytes < 0) throw corrupt('a value has a negative length');
  return bytes;
}

/** Its length, and its bytes among those that are compressed together. */
export class ResidueModel implements ValueModel {
  readonly #length: IntModel;

  constructor(length: IntModel) {
    this.#length = length;
  }

  encode(to: CodeSink, bytes: Buffer, start: number, end: number): void {
    this.#length.put(to, end - start);
    to.residue.copy(bytes, start, end);
  }

  decode(from: CodeSource): void {
    const length = lengthOf(this.#length, from);
    const start = from.residue.take(length);
    from.out.copy(from.residue.bytes, start, start + length);
  }

  write(out: ByteWriter): void {
    out.u8(Tag.residue);
    this.#length.write(out);
  }
}

/** Its length, and each byte by how often it comes: for what has no words, like hashes and tokens. */
export class LettersModel implements ValueModel {
  readonly #length: IntModel;
  readonly #letters: Table;

  constructor(length: IntModel, letters: Table) {
    this.#length = length;
    this.#letters = letters;
  }

  encode(to: CodeSink, bytes: Buffer, start: number, end: number): void {
    this.#length.put(to, end - start);
    for (let at = start; at < end; at++) this.#letters.put(to.range, bytes[at] as number);
  }

  decode(from: CodeSource): void {
    const length = lengthOf(this.#length, from);
    const start = from.out.take(length);
    for (let at = start; at < start + length; at++) from.out.bytes[at] = this.#letters.get(from.range);
  }

  write(out: ByteWriter): void {
    out.u8(Tag.letters);
    this.#length.write(out);
    this.#letters.write(out);
  }
}

/** Values of one width, each byte by how often it comes at its place; null: as often as any other. */
export class PlanesForm implements FormModel {
  readonly #planes: readonly (Table | null)[];
  readonly #value: Buffer;

  constructor(planes: readonly (Table | null)[]) {
    this.#planes = planes;
    this.#value = Buffer.alloc(planes.length);
  }

  parse(bytes: Buffer, start: number, end: number): boolean {
    if (end - start !== this.#planes.length) return false;
    bytes.copy(this.#value, 0, start, end);
    return true;
  }

  put({ range }: CodeSink): void {
    this.#planes.forEach((table, i) => {
      const byte = this.#value[i] as number;
      if (table === null) range.putBits(byte, 8);
      else table.put(range, byte);
    });
  }

  get({ range, out }: CodeSource): void {
    let at = out.take(this.#planes.length);
    for (const table of this.#planes) out.bytes[at++] = table === null ? range.bits(8) : table.get(range);
  }

  write(out: ByteWriter): void {
    out.u8(Tag.planes);
    out.varint(this.#planes.length);
    for (const table of this.#planes) {
      out.u8(table === null ? 0 : 1);
      table?.write(out);
    }
  }
}

/** Values seen before by number, others by another model. */
export class DictionaryModel implements ValueModel {
  readonly #values: readonly Buffer[];
  readonly #numbers: Map<string, number>;
  /** The last symbol: none of the values. */
  readonly #table: Table;
  readonly #rest: ValueModel;

  constructor(values: readonly Buffer[], table: Table, rest: ValueModel) {
    this.#values = values;
    this.#numbers = new Map(values.map((value, i) => [value.toString('latin1'), i]));
    this.#table = table;
    this.#rest = rest;
  }

  encode(to: CodeSink, bytes: Buffer, start: number, end: number): void {
    const number = this.#numbers.get(bytes.toString('latin1', start, end)) ?? this.#values.length;
    this.#table.put(to.range, number);
    if (number === this.#values.length) this.#rest.encode(to, bytes, start, end);
  }

  decode(from: CodeSource): void {
    const value = this.#values[this.#table.get(from.range)];
    if (value === undefined) this.#rest.decode(from);
    else from.out.copy(value, 0, value.length);
  }

  write(out: ByteWriter): void {
    out.u8(Tag.dictionary);
    out.varint(this.#values.length);
    for (const value of this.#values) {
      out.varint(value.length);
      out.copy(value, 0, value.length);
    }
    this.#table.write(out);
    this.#rest.write(out);
  }
}

/** Values of a form by their model, others by another; a symbol says which. */
export class FormedModel implements ValueModel {
  readonly #form: FormModel;
  /** 0: of the form. */
  readonly #flags: Table;
  readonly #rest: ValueModel;

  constructor(form: FormModel, flags: Table, rest: ValueModel) {
    this.#form = form;
    this.#flags = flags;
    this.#rest = rest;
  }

  encode(to: CodeSink, bytes: Buffer, start: number, end: number): void {
    if (this.#form.parse(bytes, start, end)) {
      this.#flags.put(to.range, 0);
      this.#form.put(to);
    } else {
      this.#flags.put(to.range, 1);
      this.#rest.encode(to, bytes, start, end);
    }
  }

  decode(from: CodeSource): void {
    if (this.#flags.get(from.range) === 0) this.#form.get(from);
    else this.#rest.decode(from);
  }

  write(out: ByteWriter): void {
    this.#form.write(out);
    this.#flags.write(out);
    this.#rest.write(out);
  }
}
