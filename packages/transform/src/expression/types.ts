/** A row filter as a tree. A strict subset of PostgreSQL's expressions: whatever parses here means the same there. */
export type CompareOp = '=' | '<>' | '<' | '<=' | '>' | '>=';

export type LiteralKind = 'text' | 'number' | 'bool' | 'date' | 'timestamp' | 'timestamptz' | 'uuid';

export interface Literal {
  readonly kind: LiteralKind;
  readonly text: string;
  /** Offset in the source, for messages. */
  readonly at: number;
}

export interface Column {
  readonly kind: 'column';
  readonly name: string;
  readonly at: number;
}

export type Operand = Column | Literal;

export type Expr =
  | { readonly kind: 'and' | 'or'; readonly of: readonly Expr[] }
  | { readonly kind: 'not'; readonly of: Expr }
  | { readonly kind: 'compare'; readonly op: CompareOp; readonly left: Operand; readonly right: Operand }
  | { readonly kind: 'in'; readonly column: Column; readonly list: readonly Literal[]; readonly not: boolean }
  | { readonly kind: 'like'; readonly column: Column; readonly pattern: Literal; readonly not: boolean }
  | { readonly kind: 'isNull'; readonly column: Column; readonly not: boolean }
  /** IS TRUE, IS NOT FALSE, IS UNKNOWN … of a condition: `is` is what makes it true. */
  | { readonly kind: 'is'; readonly of: Expr; readonly is: Truth; readonly not: boolean }
  /** A boolean column, or TRUE, FALSE. */
  | { readonly kind: 'bool'; readonly of: Operand };

/** SQL's three values. */
export type Truth = 0 | 1 | 2;
export const FALSE: Truth = 0;
export const TRUE: Truth = 1;
export const UNKNOWN: Truth = 2;

export interface Fault {
  readonly at: number;
  readonly wrong: string;
}

/** Thrown inside of this folder, told as a {@link Fault} outside. */
export class ExpressionFault extends Error {
  readonly fault: Fault;

  constructor(at: number, wrong: string) {
    super(wrong);
    this.name = 'ExpressionFault';
    this.fault = { at, wrong };
  }
}
