/**
 * A filter for the columns of one table: types are settled here, once; per row there is only a look at its bytes. Three-valued as in SQL: a
 * comparison with NULL is unknown, and a row passes only when the whole is true.
 */
import { COLUMN_NULL, COLUMN_TEXT, COLUMN_UNCHANGED } from '@drover/pg';
import { malformed } from '@drover/pg/pgoutput/bytes.ts';
import type { Cells } from '../plan/cells.ts';
import { readValue } from '../values/codec.ts';
import { type Scalar, TYPES, type ValueType } from '../values/types.ts';
import { comparator, constantFor, likeTest } from './operators.ts';
import {
  type Column,
  type CompareOp,
  type Expr,
  ExpressionFault,
  FALSE,
  type Operand,
  TRUE,
  type Truth,
  UNKNOWN,
} from './types.ts';

/** What a row's filter looks at: cells located in their bytes. */
export type Test = (bytes: Buffer, cells: Cells) => Truth;

export interface FilterColumn {
  readonly name: string;
  /** Undefined: of a type that can only be asked whether it is NULL. */
  readonly type: ValueType | undefined;
  readonly typeName: string;
}

export interface CompiledFilter {
  readonly test: Test;
  /** Indexes of the columns it reads. */
  readonly reads: ReadonlySet<number>;
}

/** @throws ExpressionFault where it does not fit the columns */
export function compileFilter(expr: Expr, columns: readonly FilterColumn[]): CompiledFilter {
  const compiler = new Compiler(columns);
  return { test: compiler.of(expr), reads: compiler.reads };
}

const HOLDS: Readonly<Record<CompareOp, (order: number) => boolean>> = {
  '=': (o) => o === 0,
  '<>': (o) => o !== 0,
  '<': (o) => o < 0,
  '<=': (o) => o <= 0,
  '>': (o) => o > 0,
  '>=': (o) => o >= 0,
};

const MIRRORED: Readonly<Record<CompareOp, CompareOp>> = {
  '=': '=',
  '<>': '<>',
  '<': '>',
  '<=': '>=',
  '>': '<',
  '>=': '<=',
};

class Compiler {
  readonly reads = new Set<number>();
  readonly #columns: readonly FilterColumn[];

  constructor(columns: readonly FilterColumn[]) {
    this.#columns = columns;
  }

  of(expr: Expr): Test {
    switch (expr.kind) {
      case 'and':
        return all(
          expr.of.map((part) => this.of(part)),
          FALSE,
          TRUE,
        );
      case 'or':
        return all(
          expr.of.map((part) => this.of(part)),
          TRUE,
          FALSE,
        );
      case 'not': {
        const test = this.of(expr.of);
        return (bytes, cells) => negated(test(bytes, cells));
      }
      case 'is': {
        const { is, not } = expr;
        const test = this.of(expr.of);
        return (bytes, cells) => ((test(bytes, cells) === is) === not ? FALSE : TRUE);
      }
      case 'isNull': {
        const index = this.#index(expr.column);
        const { not } = expr;
        return (bytes, cells) => ((kindAt(bytes, cells, index) === COLUMN_NULL) === not ? FALSE : TRUE);
      }
      case 'bool':
        return this.#bool(expr.of);
      case 'compare':
        return this.#compare(expr.op, expr.left, expr.right);
      case 'in': {
        const { not, column } = expr;
        if (expr.list.length > 1 && this.#typed(column).type === TYPES.float4)
          throw new ExpressionFault(
            column.at,
            'a list is compared as float4, a single value as float8; write = and OR',
          );
        const tests = expr.list.map((literal) => this.#compare('=', column, literal));
        const any = all(tests, TRUE, FALSE);
        return not ? (bytes, cells) => negated(any(bytes, cells)) : any;
      }
      case 'like': {
        const { index, type } = this.#typed(expr.column);
        const matches = likeTest(type, expr.pattern);
        const { not } = expr;
        return this.#read(index, type, (value) => matches(value) !== not);
      }
    }
  }

  #bool(operand: Operand): Test {
    if (operand.kind === 'bool') {
      const truth = operand.text === 'true' ? TRUE : FALSE;
      return () => truth;
    }
    if (operand.kind !== 'column') throw new ExpressionFault(operand.at, 'a condition was expected');
    const { index, type } = this.#typed(operand);
    if (type.family !== 'bool')
      throw new ExpressionFault(operand.at, `column "${operand.name}" is ${type.name}, not bool; compare it`);
    return this.#read(index, type, (value) => value === true);
  }

  #compare(op: CompareOp, left: Operand, right: Operand): Test {
    if (left.kind !== 'column') {
      if (right.kind !== 'column') throw new ExpressionFault(left.at, 'a comparison needs a column');
      return this.#compare(MIRRORED[op], right, left);
    }
    const { index, type } = this.#typed(left);
    const holds = HOLDS[op];
    if (right.kind === 'column') {
      const other = this.#typed(right);
      const order = comparator(type, other.type, op, right.at);
      const read = (bytes: Buffer, cells: Cells, at: number, of: ValueType) => valueAt(bytes, cells, at, of);
      return (bytes, cells) => {
        const a = read(bytes, cells, index, type);
        const b = read(bytes, cells, other.index, other.type);
        return a === null || b === null ? UNKNOWN : holds(order(a, b)) ? TRUE : FALSE;
      };
    }
    const constant = constantFor(type, right);
    const order = comparator(type, constant.type, op, right.at);
    return this.#read(index, type, (value) => holds(order(value, constant.value)));
  }

  #read(index: number, type: ValueType, test: (value: Scalar) => boolean): Test {
    return (bytes, cells) => {
      const value = valueAt(bytes, cells, index, type);
      return value === null ? UNKNOWN : test(value) ? TRUE : FALSE;
    };
  }

  #index(column: Column): number {
    const index = this.#columns.findIndex(({ name }) => name === column.name);
    if (index < 0) throw new ExpressionFault(column.at, `there is no column "${column.name}"`);
    this.reads.add(index);
    return index;
  }

  #typed(column: Column): { index: number; type: ValueType } {
    const index = this.#index(column);
    const found = this.#columns[index];
    if (found?.type !== undefined) return { index, type: found.type };
    const what = `column "${column.name}" is of type ${found?.typeName ?? '?'}, which can only be tested with IS NULL`;
    throw new ExpressionFault(column.at, what);
  }
}

/** AND and OR: `decides` ends it, unknown stays unless something decides. */
function all(tests: readonly Test[], decides: Truth, otherwise: Truth): Test {
  return (bytes, cells) => {
    let result = otherwise;
    for (const test of tests) {
      const truth = test(bytes, cells);
      if (truth === decides) return decides;
      if (truth === UNKNOWN) result = UNKNOWN;
    }
    return result;
  };
}

function negated(truth: Truth): Truth {
  return truth === UNKNOWN ? UNKNOWN : truth === TRUE ? FALSE : TRUE;
}

function kindAt(bytes: Buffer, cells: Cells, index: number): number {
  const kind = bytes[cells.at[index] ?? 0] ?? 0;
  if (kind === COLUMN_UNCHANGED) throw malformed(`a filter needs column ${index}, which the source left out`);
  return kind;
}

/** Null: the cell is NULL. */
function valueAt(bytes: Buffer, cells: Cells, index: number, type: ValueType): Scalar | null {
  const kind = kindAt(bytes, cells, index);
  if (kind === COLUMN_NULL) return null;
  const start = (cells.at[index] ?? 0) + 5;
  return readValue(type, kind === COLUMN_TEXT ? 'text' : 'binary', bytes, start, cells.ends[index] ?? 0);
}
