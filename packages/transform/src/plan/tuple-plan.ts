/** What is done with the tuples of one relation. Made by `compile.ts`; rows go through `change.ts`. */
import type { Relation, RelationColumn } from '@drover/block';
import { COLUMN_BINARY, COLUMN_NULL, COLUMN_TEXT } from '@drover/pg';
import type { Test } from '../expression/compile.ts';
import { TRUE } from '../expression/types.ts';
import { type Form, readValue, writeValue } from '../values/codec.ts';
import type { ValueType } from '../values/types.ts';
import { Cells } from './cells.ts';
import type { ColumnChain, Step } from './column-chain.ts';
import type { TupleOut } from './tuple-out.ts';

interface Output {
  readonly source: number;
  readonly key: boolean;
  /** Null: its bytes as they are. */
  readonly work: Work | null;
}

type Work =
  /** In both forms: a tuple's cells are all of one. */
  | { readonly kind: 'fixed'; readonly binary: Buffer; readonly text: Buffer }
  | {
      readonly kind: 'steps';
      readonly from: ValueType;
      readonly to: ValueType;
      readonly steps: readonly Step[];
    };

export interface TuplePlanParts {
  readonly relation: Relation;
  readonly chains: readonly ColumnChain[];
  readonly filters: readonly Test[];
  readonly touched: boolean;
  readonly form: Form;
}

export class TuplePlan {
  readonly source: Relation;
  /** As which the rows are passed on; the same object as `source` when only rows are filtered. */
  readonly relation: Relation;
  readonly filters: readonly Test[];
  /** False: tuples pass byte for byte. */
  readonly touched: boolean;
  /** By source column. */
  readonly chains: readonly ColumnChain[];
  readonly cells: Cells;
  readonly oldCells: Cells;
  readonly wholeCells: Cells;
  readonly #outputs: readonly Output[];
  readonly #form: Form;
  /** Constants are written in the form that the tuple has. */
  readonly #fixes: boolean;

  constructor({ relation, chains, filters, touched, form }: TuplePlanParts) {
    this.source = relation;
    this.filters = filters;
    this.touched = touched;
    this.chains = chains;
    const width = relation.columns.length;
    this.cells = new Cells(width);
    this.oldCells = new Cells(width);
    this.wholeCells = new Cells(width);
    const outputs: Output[] = [];
    const columns: RelationColumn[] = [];
    for (const [source, chain] of chains.entries()) {
      const key = relation.columns[source]?.key === true;
      if (chain.dropped) continue;
      outputs.push({ source, key, work: workOf(chain) });
      columns.push({ name: chain.outName, typeOid: chain.outTypeOid, typmod: chain.typmod, key });
    }
    this.#outputs = outputs;
    this.#form = form;
    this.#fixes = outputs.some(({ work }) => work?.kind === 'fixed');
    this.relation = touched ? { ...relation, columns } : relation;
  }

  passes(bytes: Buffer, cells: Cells): boolean {
    for (const test of this.filters) if (test(bytes, cells) !== TRUE) return false;
    return true;
  }

  /** Writes the new tuple. `keyOnly`: an old image that holds the key alone; the rest of it stays NULL. */
  write(bytes: Buffer, cells: Cells, keyOnly: boolean, out: TupleOut): void {
    out.width(this.#outputs.length);
    const text = this.#fixes && this.#isText(bytes, cells);
    for (const { source, key, work } of this.#outputs) {
      const at = cells.at[source] ?? 0;
      const end = cells.ends[source] ?? 0;
      if (work === null || (keyOnly && !key)) out.copy(bytes, at, end);
      else if (work.kind === 'fixed') {
        const cell = text ? work.text : work.binary;
        out.copy(cell, 0, cell.length);
      } else {
        const kind = bytes[at] ?? 0;
        if (kind !== COLUMN_BINARY && kind !== COLUMN_TEXT) out.copy(bytes, at, end);
        else out.cell(kind, stepped(work, kind, bytes, at + 5, end));
      }
    }
  }

  #isText(bytes: Buffer, cells: Cells): boolean {
    for (let i = 0; i < cells.width; i++) {
      const kind = bytes[cells.at[i] ?? 0];
      if (kind === COLUMN_TEXT) return true;
      if (kind === COLUMN_BINARY) return false;
    }
    return this.#form === 'text';
  }
}

function workOf(chain: ColumnChain): Work | null {
  const { type, outType, fixed, steps } = chain;
  if (fixed !== undefined) {
    if (fixed.value === null || outType === undefined) {
      const none = Buffer.from([COLUMN_NULL]);
      return { kind: 'fixed', binary: none, text: none };
    }
    return {
      kind: 'fixed',
      binary: cellOf(COLUMN_BINARY, writeValue(outType, 'binary', fixed.value)),
      text: cellOf(COLUMN_TEXT, writeValue(outType, 'text', fixed.value)),
    };
  }
  if (steps.length === 0 || type === undefined || outType === undefined) return null;
  return { kind: 'steps', from: type, to: outType, steps };
}

function cellOf(kind: number, value: Buffer): Buffer {
  const cell = Buffer.alloc(5 + value.length);
  cell[0] = kind;
  cell.writeUInt32BE(value.length, 1);
  value.copy(cell, 5);
  return cell;
}

function stepped(
  work: Work & { kind: 'steps' },
  kind: number,
  bytes: Buffer,
  start: number,
  end: number,
): Buffer {
  const form = kind === COLUMN_TEXT ? 'text' : 'binary';
  let value = readValue(work.from, form, bytes, start, end);
  for (const step of work.steps) value = step(value);
  return writeValue(work.to, form, value);
}
