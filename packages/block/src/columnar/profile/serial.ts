/** Profiles as bytes: what is stored once and named by its hash. Whatever the bytes, reading yields a model or `block.corrupt`. */
import { corrupt } from '../../header.ts';
import { type ByteReader, ByteWriter } from '../bytes.ts';
import { relationTypes, tuplesOf } from '../records.ts';
import type { RelationDefinition } from './body.ts';
import { type FormModel, Tag, type ValueModel } from './context.ts';
import { FixedForm, FloatForm, NumericForm, UuidForm } from './forms.ts';
import { type CellModel, type GroupModel, KINDS, widthsOf, writeGroup } from './group-model.ts';
import { IntModel } from './int-model.ts';
import { Event, type ProfileModel } from './model.ts';
import { Table } from './table.ts';
import { DecimalForm, type Skeleton, TemplateForm } from './template-model.ts';
import { DictionaryModel, FormedModel, LettersModel, PlanesForm, ResidueModel } from './values.ts';

export const PROFILE_VERSION = 1;
/** Templates hold models of tokens, dictionaries those of the rest. */
const DEPTH_MAX = 12;
const PLANES_MAX = 64;
const DICTIONARY_BYTES_MAX = 4096;

export function writeModel(model: ProfileModel): Buffer {
  const out = new ByteWriter(4096);
  out.u8(PROFILE_VERSION);
  text(out, Buffer.from(model.tenant));
  text(out, Buffer.from(model.tables));
  out.varint(model.relations.length);
  for (const { bytes } of model.relations) text(out, bytes);
  out.varint(model.groups.length);
  for (const group of model.groups) writeGroup(group, out);
  for (const table of model.next) table.write(out);
  for (const ints of [model.lsn, model.time, model.xid, model.length]) ints.write(out);
  text(out, model.dictionary);
  return Buffer.from(out.written);
}

function text(out: ByteWriter, bytes: Buffer): void {
  out.varint(bytes.length);
  out.copy(bytes, 0, bytes.length);
}

/** @throws DroverError `block.corrupt` */
export function readModel(from: ByteReader): ProfileModel {
  if (from.u8() !== PROFILE_VERSION) throw corrupt('a profile is of an unknown version');
  return new ModelReader(from).read();
}

class ModelReader {
  readonly #from: ByteReader;
  #ints = 0;

  constructor(from: ByteReader) {
    this.#from = from;
  }

  read(): ProfileModel {
    const tenant = this.#bytes().toString();
    const tables = this.#bytes().toString();
    const relations = this.#list(() => this.#relation());
    const groups = this.#list(() => this.#group(relations));
    const events = Event.first + relations.length + groups.length;
    const next = Array.from({ length: events }, () => this.#table(events));
    const [lsn, time, xid, length] = [this.#int(), this.#int(), this.#int(), this.#int()];
    const dictionary = this.#bytes();
    if (dictionary.length > DICTIONARY_BYTES_MAX) throw corrupt('the dictionary of a profile is too large');
    if (this.#from.left > 0) throw corrupt('a profile has bytes to spare');
    const columns = groups.reduce((most, { cells }) => Math.max(most, cells.length), 0);
    return {
      tenant,
      tables,
      relations,
      groups,
      next,
      lsn,
      time,
      xid,
      length,
      dictionary,
      ints: this.#ints,
      columns,
    };
  }

  #bytes(): Buffer {
    const length = this.#from.varint();
    const start = this.#from.take(length);
    return Buffer.from(this.#from.bytes.subarray(start, start + length));
  }

  #list<T>(one: () => T): T[] {
    const count = this.#from.varint();
    if (count > this.#from.left) throw corrupt('a profile has more parts than bytes', { count });
    return Array.from({ length: count }, one);
  }

  #table(size: number): Table {
    const table = Table.read(this.#from);
    if (table.size !== size) throw corrupt('a table of a profile has other symbols', { size: table.size });
    return table;
  }

  #int(): IntModel {
    return IntModel.read(this.#from, this.#ints++);
  }

  #relation(): RelationDefinition {
    const bytes = this.#bytes();
    const typeOids = relationTypes(bytes, 0, bytes.length);
    if (typeOids === null) throw corrupt('a relation of a profile is malformed');
    return { bytes, typeOids };
  }

  #group(relations: readonly RelationDefinition[]): GroupModel {
    const op = this.#from.u8();
    const relation = this.#from.varint();
    const definition = relations[relation];
    const tuples = tuplesOf(op);
    if (definition === undefined || tuples === 0) throw corrupt('a group of a profile has no table');
    const columns = definition.typeOids.length * tuples;
    const cells = Array.from({ length: columns }, (_, column) =>
      this.#cell(tuples === 2 && column * 2 >= columns),
    );
    return { op, relation, widths: widthsOf(definition.typeOids, columns), cells };
  }

  #cell(hasOld: boolean): CellModel {
    const flag = this.#from.u8();
    if (flag > (hasOld ? 1 : 0)) throw corrupt('a column is as one that is not there');
    const same = flag === 1 ? this.#table(2) : null;
    const kinds = this.#table(KINDS.length);
    return { same, kinds, kind: this.#from.u8(), value: this.#value(0), rest: this.#value(0) };
  }

  #value(depth: number): ValueModel {
    if (depth > DEPTH_MAX) throw corrupt('models are nested too deeply');
    const tag = this.#from.u8();
    if (tag === Tag.residue) return new ResidueModel(this.#int());
    if (tag === Tag.letters) return new LettersModel(this.#int(), this.#table(256));
    if (tag === Tag.dictionary) {
      const values = this.#list(() => this.#bytes());
      return new DictionaryModel(values, this.#table(values.length + 1), this.#value(depth + 1));
    }
    const form = this.#form(tag, depth);
    return new FormedModel(form, this.#table(2), this.#value(depth + 1));
  }

  #form(tag: number, depth: number): FormModel {
    const from = this.#from;
    switch (tag) {
      case Tag.planes: {
        const planes = this.#list(() => (from.u8() === 0 ? null : this.#table(256)));
        if (planes.length > PLANES_MAX) throw corrupt('values of a model are too wide');
        return new PlanesForm(planes);
      }
      case Tag.fixed: {
        const width = from.u8();
        if (width !== 1 && width !== 2 && width !== 4 && width !== 8)
          throw corrupt('numbers have an odd width');
        return new FixedForm(width, this.#int());
      }
      case Tag.numeric:
        return new NumericForm(this.#upTo(12), this.#int());
      case Tag.float: {
        const width = from.u8();
        if (width !== 4 && width !== 8) throw corrupt('floats have an odd width');
        return new FloatForm(width, this.#upTo(15), this.#int());
      }
      case Tag.uuid:
        return new UuidForm(from.u8() === 0 ? null : this.#int());
      case Tag.template:
        return this.#template(depth);
      case Tag.decimal:
        return new DecimalForm(this.#upTo(15), this.#upTo(15), this.#int());
      default:
        throw corrupt('a model of a profile is unknown', { tag });
    }
  }

  #upTo(most: number): number {
    const value = this.#from.u8();
    if (value > most) throw corrupt('a model of a profile is out of range', { value });
    return value;
  }

  #template(depth: number): TemplateForm {
    const document = this.#from.u8() === 1;
    const skeletons = this.#list((): Skeleton => {
      const count = this.#from.varint();
      if (count > this.#from.left) throw corrupt('a skeleton has more tokens than bytes');
      const pieces = Array.from({ length: count + 1 }, () => this.#bytes());
      return { pieces, tokens: Array.from({ length: count }, () => this.#value(depth + 1)) };
    });
    return new TemplateForm(document, skeletons, this.#table(skeletons.length));
  }
}
